"""Pages that are saved as files."""
