"""Several branches or nodes against each other: curves, settings, weights; and the JSON of it."""
