"""The Hugging Face Trainer as a branch of a run."""
