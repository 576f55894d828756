"""Coffret's control plane: keeps what is wanted and makes it so."""

from guest_agent import __version__ as __version__
