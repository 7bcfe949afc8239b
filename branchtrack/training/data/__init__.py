"""Datasets, samplers and loaders: the place in the batches, out and in, exactly."""
