"""What charts and timelines show, as plain values, and drawn without JavaScript."""
