"""Charts and timelines: what they show, as plain values, and how they look without JavaScript."""
