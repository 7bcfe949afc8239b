"""The commands about agents and proposals."""
