"""The complete state of a training, out and in."""
