"""The API that guest agents speak: guest_agent/protocol.py is its contract."""
