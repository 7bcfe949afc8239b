"""Access: who makes a request, what they may do, and how often."""
