"""What an export of a model needs besides its weights."""
