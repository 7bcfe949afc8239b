"""Starting training processes that were ordered, and watching them to their end."""
