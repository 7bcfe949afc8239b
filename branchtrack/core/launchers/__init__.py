"""Launchers: clusters that carry out launches, profiles of their options, states of jobs."""
