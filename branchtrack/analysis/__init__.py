"""What is computed to be shown: curves, downsampling, differences."""
