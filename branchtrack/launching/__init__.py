"""Starting the training processes in the queue, and watching them until they end."""
