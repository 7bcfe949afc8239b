"""Addresses, forms and JSON bodies, read strictly."""
