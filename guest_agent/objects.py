"""Databases and users of a directive: one pass over all of them, each with a fate of its own."""

import logging
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from guest_agent.engines.base import Engine, EngineError
from guest_agent.protocol import (
    DesiredDatabase,
    DesiredUser,
    Directive,
    ObjectState,
    Outcome,
)

_Object = TypeVar("_Object", DesiredDatabase, DesiredUser)

log = logging.getLogger(__name__)


class ObjectPass:
    """`changed` is called with an object's key and the engine's sentence for each change made."""

    def __init__(self, engine: Engine, changed: Callable[[str, str], None]) -> None:
        self._engine = engine
        self._changed = changed
        self._failures: dict[str, str] = {}
        self._drops: dict[str, str] = {}
        """What the engine said of those that are gone now."""

    def run(self, directive: Directive) -> None:
        """Owners before what they own, grants once both sides are there, drops last.

        Raises EngineError when the engine no longer answers.
        """
        engine = self._engine
        users, databases = directive["users"], directive["databases"]
        for user in _in_state("present", users):
            self._attempt(user_key(user), partial(engine.ensure_user, user), user["verifier"])
        for database in _in_state("present", databases):
            self._attempt(database_key(database), partial(engine.ensure_database, database))
        for user in _in_state("present", users):
            self._attempt(user_key(user), partial(engine.ensure_grants, user), user["verifier"])
        for database in _in_state("absent", databases):
            self._drop(database_key(database), partial(engine.drop_database, database["name"]))
        for user in _in_state("absent", users):
            policy = user.get("deletion_policy", "reassign")
            self._drop(user_key(user), partial(engine.drop_user, user["name"], user["host"], policy))

    def settled(self, directive: Directive) -> list[str]:
        """Keys of all objects that are now as wanted."""
        keys = [*map(database_key, directive["databases"]), *map(user_key, directive["users"])]
        return [key for key in keys if key not in self._failures]

    def databases(self, directive: Directive) -> list[Outcome]:
        return [self._outcome(each, database_key(each)) for each in directive["databases"]]

    def users(self, directive: Directive) -> list[Outcome]:
        return [self._outcome(each, user_key(each)) for each in directive["users"]]

    def _drop(self, key: str, step: Callable[[], str | None]) -> None:
        if sentence := self._attempt(key, step):
            self._drops[key] = sentence

    def _attempt(self, key: str, step: Callable[[], str | None], verifier: str = "") -> str | None:
        """Returns what was changed, if anything was."""
        if key in self._failures:
            return None
        try:
            sentence = step()
        except Exception as error:
            said = str(error) if isinstance(error, EngineError) else unforeseen(error)
            said = said.replace(verifier, "…") if verifier else said
            self._engine.health()  # a dead engine fails the pass, not each object in turn
            log.warning("%s: %s", key, said)
            self._failures[key] = said
        else:
            if sentence:
                self._changed(key, sentence)
            return sentence
        return None

    def _outcome(self, wanted: DesiredDatabase | DesiredUser, key: str) -> Outcome:
        failure = self._failures.get(key)
        return Outcome(
            id=wanted["id"],
            generation=wanted["generation"],
            done=failure is None,
            message=failure or self._drops.get(key, ""),
        )


def database_key(database: DesiredDatabase) -> str:
    return f"database {database['name']}"


def user_key(user: DesiredUser) -> str:
    return f"user {user['name']}@{user['host']}"


def unforeseen(error: Exception) -> str:
    """What to say of an error that no plugin has put into words."""
    return f"The agent could not do it: {type(error).__name__}: {error}"


def _in_state(state: ObjectState, objects: list[_Object]) -> list[_Object]:
    return [each for each in objects if each["state"] == state]
