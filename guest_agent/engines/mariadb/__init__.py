"""MariaDB, 10.6 and later."""

from guest_agent.engines.mariadb.engine import MariaDB, find_binaries

__all__ = ["MariaDB", "find_binaries"]
