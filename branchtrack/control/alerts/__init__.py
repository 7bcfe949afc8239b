"""Alerts: raised once, with the fork that would mend what is wrong, and delivered."""
