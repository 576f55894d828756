"""Privileges of accounts: reading them, and making one account's exactly the wanted ones.

A grant is on all of one database. What was given by hand to a managed account in any other way,
globally, on tables, routines, as a role or a proxy, is taken away.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from guest_agent.engines.base import EngineError
from guest_agent.engines.mariadb.session import Session, quoted
from guest_agent.protocol import Grant

PRIVILEGES = {
    "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "REFERENCES", "INDEX", "ALTER",
    "CREATE TEMPORARY TABLES", "LOCK TABLES", "EXECUTE", "CREATE VIEW", "SHOW VIEW",
    "CREATE ROUTINE", "ALTER ROUTINE", "EVENT", "TRIGGER", "DELETE HISTORY",
}  # fmt: skip
_ALL = {"ALL", "ALL PRIVILEGES"}
_GRANT_OPTION = "GRANT OPTION"


def wanted(grants: Sequence[Grant]) -> dict[str, set[str]]:
    """Database -> its privileges, `{"ALL"}` for all. Raises EngineError on one that is none."""
    found: dict[str, set[str]] = defaultdict(set)
    for grant in grants:
        database = grant.get("database")
        if not database:
            raise EngineError("a MariaDB grant names the database that it is for")
        for privilege in grant["privileges"]:
            word = privilege.upper()
            if word not in PRIVILEGES | _ALL:
                raise EngineError(
                    f"privilege {privilege!r}: use ALL or any of {', '.join(sorted(PRIVILEGES))}"
                )
            found[database].add("ALL" if word in _ALL else word)
    return {name: {"ALL"} if "ALL" in words else words for name, words in found.items()}


def pattern(database: str) -> str:
    """The name as GRANT takes it, where `_` and `%` are wildcards."""
    return re.sub(r"([_%\\])", r"\\\1", database)


def database(stored: str) -> str:
    """The name back from what is stored."""
    return re.sub(r"\\(.)", r"\1", stored)


def grantee(name: str, host: str) -> str:
    """An account as information_schema spells it."""
    return f"'{name}'@'{host}'"


def on_databases(server: Session, one: str | None = None) -> dict[str, dict[str, set[str]]]:
    """Grantee (all or `one`) -> stored database pattern -> privileges, GRANT OPTION among them.

    `ALL` is among them where they are all that this version has for a database.
    """
    counted = server.rows(
        "SELECT COUNT(*) - 1 AS n FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'mysql' "
        "AND TABLE_NAME = 'db' AND COLUMN_NAME LIKE '%%\\_priv'"
    )[0]["n"]
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row in server.rows(
        "SELECT * FROM information_schema.SCHEMA_PRIVILEGES WHERE %s IS NULL OR GRANTEE = %s",
        one,
        one,
    ):
        words = found[row["GRANTEE"]][row["TABLE_SCHEMA"]]
        if row["PRIVILEGE_TYPE"] != "USAGE":
            words.add(row["PRIVILEGE_TYPE"])
        if row["IS_GRANTABLE"] == "YES":
            words.add(_GRANT_OPTION)
    for databases in found.values():
        for words in databases.values():
            if len(words - {_GRANT_OPTION}) >= counted:
                words.add("ALL")
    return found


def on_everything(server: Session, one: str | None = None) -> dict[str, set[str]]:
    """Grantee (all or `one`) -> privileges on everything."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in server.rows(
        "SELECT * FROM information_schema.USER_PRIVILEGES "
        "WHERE (PRIVILEGE_TYPE <> 'USAGE' OR IS_GRANTABLE = 'YES') "
        "AND (%s IS NULL OR GRANTEE = %s)",
        one,
        one,
    ):
        found[row["GRANTEE"]].add(row["PRIVILEGE_TYPE"])
    return found


def ensure(server: Session, name: str, host: str, grants: Sequence[Grant]) -> list[str]:
    """Make it so; returns what was done, as sentences' parts."""
    want = {pattern(one): words for one, words in wanted(grants).items()}
    have = on_databases(server, grantee(name, host)).get(grantee(name, host), {})
    done = _strip(server, name, host)
    for stored in sorted(want.keys() | have.keys()):
        done += _one(server, (name, host), stored, have, want)
    return done


def _one(
    server: Session,
    account: tuple[str, str],
    stored: str,
    have: Mapping[str, set[str]],
    want: Mapping[str, set[str]],
) -> list[str]:
    has, wants = have.get(stored, set()), want.get(stored, set())
    where, label, done = quoted(stored), database(stored), []
    if more := wants - has:
        server.run(f"GRANT {_list(more)} ON {where}.* TO %s@%s", *account)
        done.append(f"granted {_list(more)} on {label}")
    if _GRANT_OPTION in has:
        server.run(f"REVOKE GRANT OPTION ON {where}.* FROM %s@%s", *account)
        done.append(f"revoked {_GRANT_OPTION} on {label}")
    less = set() if "ALL" in wants else has - wants - {_GRANT_OPTION, "ALL"}
    if less:
        words = {"ALL"} if "ALL" in has and not wants else less
        server.run(f"REVOKE {_list(words)} ON {where}.* FROM %s@%s", *account)
        done.append(f"revoked {_list(words)} on {label}")
    return done


def _told(words: set[str]) -> list[str]:
    return sorted({"ALL"} | (words & {_GRANT_OPTION}) if "ALL" in words else words)


def _list(words: set[str]) -> str:
    return "ALL PRIVILEGES" if words == {"ALL"} else ", ".join(sorted(words))


def _strip(server: Session, name: str, host: str) -> list[str]:
    """Take away everything that is not on a whole database."""
    account, spelled = (name, host), grantee(name, host)
    done = []
    if words := on_everything(server, spelled).get(spelled):
        server.run("REVOKE ALL PRIVILEGES ON *.* FROM %s@%s", *account)
        server.run("REVOKE GRANT OPTION ON *.* FROM %s@%s", *account)
        done.append(f"revoked {_list(words)} on everything")
    tables = server.rows(
        "SELECT TABLE_SCHEMA AS a, TABLE_NAME AS b, MAX(IS_GRANTABLE) AS grantable FROM ("
        "SELECT * FROM information_schema.TABLE_PRIVILEGES WHERE GRANTEE = %s UNION ALL "
        "SELECT GRANTEE, TABLE_CATALOG, TABLE_SCHEMA, TABLE_NAME, PRIVILEGE_TYPE, IS_GRANTABLE "
        "FROM information_schema.COLUMN_PRIVILEGES WHERE GRANTEE = %s) AS every GROUP BY 1, 2",
        spelled,
        spelled,
    )
    routines = server.rows(
        "SELECT Db AS a, Routine_name AS b, Routine_type AS kind, "
        "IF(FIND_IN_SET('Grant', Proc_priv), 'YES', 'NO') AS grantable "
        "FROM mysql.procs_priv WHERE User = %s AND Host = %s",
        *account,
    )
    for row in (*tables, *routines):
        where = f"{row.get('kind', 'TABLE')} {quoted(row['a'])}.{quoted(row['b'])}"
        server.run(f"REVOKE ALL PRIVILEGES ON {where} FROM %s@%s", *account)
        if row["grantable"] == "YES":  # which kept the entry until now
            server.run(f"REVOKE GRANT OPTION ON {where} FROM %s@%s", *account)
        done.append(f"revoked all on {row['a']}.{row['b']}")
    for row in server.rows("SELECT Role FROM mysql.roles_mapping WHERE User = %s AND Host = %s", *account):
        server.run(f"REVOKE {quoted(row['Role'])} FROM %s@%s", *account)
        done.append(f"revoked role {row['Role']}")
    for row in server.rows(
        "SELECT Proxied_user, Proxied_host FROM mysql.proxies_priv WHERE User = %s AND Host = %s",
        *account,
    ):
        server.run("REVOKE PROXY ON %s@%s FROM %s@%s", row["Proxied_user"], row["Proxied_host"], *account)
        done.append(f"revoked proxy for {row['Proxied_user']}")
    return done


def seen(
    name: str,
    host: str,
    databases: Mapping[str, Mapping[str, set[str]]],
    everywhere: Mapping[str, set[str]],
) -> list[Grant]:
    """The grants of one account; what holds for everything has no database."""
    spelled = grantee(name, host)
    found: list[Grant] = [
        {"database": database(stored), "privileges": _told(words)}
        for stored, words in sorted(databases.get(spelled, {}).items())
        if words
    ]
    if words := everywhere.get(spelled):
        found.append({"database": None, "privileges": sorted(words)})
    return found
