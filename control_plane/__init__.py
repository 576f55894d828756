"""Coffret's control plane: keeps what is wanted and makes it so."""

__version__ = "0.1.0"
