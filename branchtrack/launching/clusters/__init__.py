"""Clusters that carry out launches: jobs submitted once, looked after, gone on with, cancelled."""
