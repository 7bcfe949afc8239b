"""The complete state of a training, captured and restored."""
