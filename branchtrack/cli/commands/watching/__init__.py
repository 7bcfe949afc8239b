"""The commands of what watches runs."""
