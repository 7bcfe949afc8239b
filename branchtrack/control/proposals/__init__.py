"""Proposals: requests that wait for a person, who approves or declines them."""
