"""The processes of one training: what they say to each other, and at which update they meet."""
