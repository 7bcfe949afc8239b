"""Trials: forks of one state with a change and without, and what their differences show."""
