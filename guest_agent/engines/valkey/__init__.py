"""Valkey, and Redis where only that is installed."""

from guest_agent.engines.valkey.engine import Valkey, find_binaries

__all__ = ["Valkey", "find_binaries"]
