"""The trainings of the case studies, each a script as a user would write it."""
