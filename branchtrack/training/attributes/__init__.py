"""State that objects keep in attributes of their own, found, compared and restored."""
