"""A plain PyTorch loop as a branch of a run."""
