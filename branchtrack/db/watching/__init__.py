"""What watches runs and what it noticed: alerts, agents, and their exchanges with models."""
