"""A checkpoint folder of a stock Trainer read into the first node of a run."""
