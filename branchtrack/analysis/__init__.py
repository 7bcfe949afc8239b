"""Computations for display: curves, downsampling, differences."""
