"""Addresses, forms and JSON bodies, parsed strictly."""
