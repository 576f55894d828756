"""Secrets at rest: columns whose values the state database has encrypted only."""

from control_plane.secrets.columns import Sealed, SealedJSON, keys
from control_plane.secrets.keys import Keys, open_keys

__all__ = ["Keys", "Sealed", "SealedJSON", "keys", "open_keys"]
