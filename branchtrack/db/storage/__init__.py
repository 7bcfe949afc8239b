"""What the store holds, as the database knows it: packs, and texts of its own."""
