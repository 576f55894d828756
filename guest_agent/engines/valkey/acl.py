"""Grants as ACL rules and back. https://valkey.io/topics/acl/

The first grant is the user's root permissions, every further one a selector. Each ends with
`-@admin`, whatever came before: ACL, CONFIG, SHUTDOWN, MODULE, REPLICAOF and their like would let a
user take the server from the agent. `ALL` is every command but the dangerous ones, of which those
that reach no further than the grant's keys come back; FLUSHDB and FLUSHALL where the keys are `*`.
"""

import re
from collections.abc import Iterable, Sequence

from guest_agent.engines.base import EngineError
from guest_agent.protocol import Grant

_RULE = re.compile(r"[+-](@[a-z]+|[a-z][a-z0-9_.-]*(\|[a-z0-9_.-]+)?)")
_ALL = ["+@all", "-@dangerous", "+info", "+keys", "+sort", "+sort_ro", "+restore"]
_FLUSH = ["+flushdb", "+flushall"]
_LAST = "-@admin"


def rules(grants: Sequence[Grant], admin: Iterable[str]) -> list[str]:
    """What follows ACL SETUSER <name> to make a user's permissions exactly `grants`.

    `admin` are the commands of the category @admin. Raises EngineError on a rule that is none.
    """
    forbidden = {"@admin", *admin}
    parts = [_one(grant, forbidden) for grant in grants]
    root = parts[0] if parts else []
    selectors = [f"({' '.join(part)})" for part in parts[1:]]
    return ["resetkeys", "resetchannels", "clearselectors", "-@all", *root, *selectors]


def _one(grant: Grant, forbidden: set[str]) -> list[str]:
    keys = grant.get("keys") or ["*"]
    channels = grant.get("channels") or []
    for pattern in (*keys, *channels):
        if not pattern or re.search(r"[\s()\x00]", pattern):
            raise EngineError(f"pattern {pattern!r}: no blanks and no parentheses in a pattern")
    where = [*(f"~{key}" for key in keys), *(f"&{channel}" for channel in channels)]
    return [*where, *_commands(grant["privileges"], keys, forbidden), _LAST]


def _commands(privileges: Sequence[str], keys: Sequence[str], forbidden: set[str]) -> list[str]:
    found: list[str] = []
    for privilege in privileges:
        rule = privilege.lower()
        if rule == "all":
            found += _ALL + (_FLUSH if "*" in keys else [])
            continue
        if not _RULE.fullmatch(rule):
            raise EngineError(
                f"privilege {privilege!r}: use ALL, or ACL command rules such as +@read, +get, -del"
            )
        if rule[0] == "+" and rule[1:] in forbidden:
            raise EngineError(f"privilege {privilege!r}: Coffret keeps administration to itself")
        found.append(rule)
    return found


def grants(line: str) -> list[Grant]:
    """The grants in a line of ACL LIST, without what `rules` adds to every grant."""
    root, *selectors = re.findall(r"\([^)]*\)|[^()]+", line)
    parts = [root.split()[2:], *(one[1:-1].split() for one in selectors if one.strip(" ()"))]
    found = [_grant(part) for part in parts]
    return [grant for grant in found if grant["privileges"]]


def _grant(words: Sequence[str]) -> Grant:
    keys = ["*" if word == "allkeys" else word[1:] for word in words if word[0] == "~"]
    keys += [word for word in words if word[0] == "%"]
    commands = [word for word in words if word[0] in "+-"]
    if commands[:1] == ["-@all"]:
        commands = commands[1:]
    if commands[-1:] == [_LAST]:
        commands = commands[:-1]
    if commands == _ALL + (_FLUSH if "*" in keys else []):
        commands = ["ALL"]
    return {
        "privileges": commands,
        "keys": keys,
        "channels": [word[1:] for word in words if word[0] == "&"],
    }
