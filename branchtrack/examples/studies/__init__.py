"""Case studies: trainings under different control, compared by what was recorded of them."""
