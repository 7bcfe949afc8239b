"""What is done to the store besides commits and sweeps."""
