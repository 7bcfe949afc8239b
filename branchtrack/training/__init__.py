"""What runs inside the training process: capture, restore, apply, record. Never loads Flask."""
