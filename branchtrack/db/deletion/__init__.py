"""What is deleted: hidden in the trash first, and gone when it is purged."""
