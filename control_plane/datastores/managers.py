"""Facts about the engines that the API must know to check what it is asked for."""

from dataclasses import dataclass
from urllib.parse import quote

from control_plane.database import is_uuid
from control_plane.errors import Invalid, nearest

SQL_TABLE = ("SELECT", "INSERT", "UPDATE", "DELETE", "REFERENCES", "TRIGGER")


@dataclass(frozen=True)
class Manager:
    """A datastore manager, Trove's word for what knows one kind of engine."""

    name: str
    port: int
    """The engine's usual port."""
    account: str
    """The system account that the guest image's package runs the engine as."""
    scheme: str
    """Of connection URIs."""
    has_databases: bool
    has_owners: bool
    has_hosts: bool
    name_bytes: int
    """Longest name of a database, in bytes of UTF-8."""
    user_bytes: int
    reserved_databases: frozenset[str]
    reserved_users: frozenset[str]
    reserved_prefix: str
    """Users may not start with it."""
    privileges: frozenset[str]
    """Empty: the engine's own ACL rules."""

    def check_database(self, name: str) -> None:
        if not self.has_databases:
            raise Invalid.field(
                "/name",
                f"{self.name} has no named databases; clients choose a number from 0 to 15.",
            )
        self._check(name, "database", self.name_bytes, self.reserved_databases, "")

    def check_user(self, name: str) -> None:
        self._check(name, "user", self.user_bytes, self.reserved_users, self.reserved_prefix)
        if not self.privileges and " " in name:  # ACL rules are words with spaces between
            raise Invalid.field("/name", f"The name of a {self.name} user has no space.")

    def _check(self, name: str, kind: str, most: int, reserved: frozenset[str], prefix: str) -> None:
        if not 1 <= len(name.encode()) <= most:
            raise Invalid.field(
                "/name", f"The name of a {self.name} {kind} has 1 to {most} bytes of UTF-8."
            )
        if not name.isprintable() or name != name.strip() or set(name) & set("/\\@`"):
            raise Invalid.field(
                "/name",
                f"The name of a {kind} is printable, has no '/', '\\', '@' or '`', and no space at"
                " either end.",
            )
        if self.name == "mariadb" and max(name) > "\uffff":  # https://mariadb.com/kb/en/identifier-names/
            raise Invalid.field("/name", "MariaDB's names have no letters past U+FFFF, such as emoji.")
        if is_uuid(name):
            raise Invalid.field("/name", "A name must not look like a UUID: ids are accepted as names are.")
        if name.lower() in reserved or (prefix and name.lower().startswith(prefix)):
            raise Invalid.field("/name", f"{name!r} belongs to {self.name} itself; choose another name.")

    def uri(self, host: str, port: int, database: str, user: str | None = None) -> str:
        """A connection URI without a password; IPv6 hosts are bracketed."""
        place = f"[{host}]" if ":" in host else host
        who = f"{quote(user, safe='')}@" if user else ""
        return f"{self.scheme}://{who}{place}:{port}/{quote(database, safe='')}"


MANAGERS = {
    manager.name: manager
    for manager in (
        Manager(
            name="postgresql",
            port=5432,
            account="postgres",
            scheme="postgresql",
            has_databases=True,
            has_owners=True,
            has_hosts=False,
            name_bytes=63,
            user_bytes=63,
            reserved_databases=frozenset({"postgres", "template0", "template1"}),
            reserved_users=frozenset(
                {"postgres", "coffret_admin", "coffret_heir", "os_admin", "public", "none"}
            ),
            reserved_prefix="pg_",
            privileges=frozenset(
                {"ALL", *SQL_TABLE, "TRUNCATE", "CONNECT", "CREATE", "TEMPORARY"}
            ),
        ),
        Manager(
            name="mariadb",
            port=3306,
            account="mysql",
            scheme="mysql",
            has_databases=True,
            has_owners=False,
            has_hosts=True,
            name_bytes=64,
            user_bytes=80,
            reserved_databases=frozenset(
                {"mysql", "information_schema", "performance_schema", "sys"}
            ),
            reserved_users=frozenset(
                {"root", "mysql", "mariadb.sys", "os_admin", "public", "coffret_admin"}
            ),
            reserved_prefix="",
            privileges=frozenset(
                {
                    "ALL", *SQL_TABLE, "CREATE", "DROP", "INDEX", "ALTER",
                    "CREATE TEMPORARY TABLES", "LOCK TABLES", "EXECUTE", "CREATE VIEW",
                    "SHOW VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "EVENT", "DELETE HISTORY",
                }
            ),
        ),
        Manager(
            name="valkey",
            port=6379,
            account="valkey",
            scheme="redis",
            has_databases=False,
            has_owners=False,
            has_hosts=False,
            name_bytes=0,
            user_bytes=63,
            reserved_databases=frozenset(),
            reserved_users=frozenset({"default", "coffret_admin"}),
            reserved_prefix="",
            privileges=frozenset(),
        ),
    )
}  # fmt: skip


def check_privilege(manager: Manager, privilege: str, pointer: str) -> None:
    if privilege not in manager.privileges:
        raise Invalid.field(
            pointer,
            f"{privilege!r} is not a privilege of {manager.name}."
            f"{nearest(privilege.upper(), manager.privileges)} The privileges are"
            f" {', '.join(sorted(manager.privileges))}.",
        )
