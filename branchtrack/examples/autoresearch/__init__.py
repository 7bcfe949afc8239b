"""An agent changes a training script, and each experiment is a branch from a warm node."""
