"""What is wrong with a training, decided from its numbers alone: rules, detectors, alerts."""
