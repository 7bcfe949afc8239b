"""Datasets, samplers and loaders: the position in the batches, saved and restored exactly."""
