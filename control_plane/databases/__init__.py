"""Databases inside instances."""
