"""The guest agent: runs beside a database engine and makes it what the control plane asks for."""

__version__ = "0.1.0"
"""Of all of Coffret: setup.py, the Makefile and the provider's releases have it from here."""
PROTOCOL = 1
"""Version of the sync protocol; the server serves this one and the one before."""
