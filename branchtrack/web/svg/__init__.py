"""Drawings made on the server, as escaped markup from plain values.

Horizontal positions are percentages and vertical ones pixels, so that a drawing fits any width
while its text and marks keep their size, and lines up with the charts that JavaScript draws.
"""
