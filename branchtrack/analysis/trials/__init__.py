"""Trials and reviews as they are shown: plain values, and a picture of the pairs."""
