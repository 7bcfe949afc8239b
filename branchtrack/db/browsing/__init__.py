"""What only pages and lists read: numbers made from other rows, and saved views."""
