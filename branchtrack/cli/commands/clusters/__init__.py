"""The commands about clusters."""
