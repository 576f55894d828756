"""The one place where a caller is let through or not: oslo.policy's rules, asked by `ensure`."""

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

from flask import current_app, request
from oslo_config import cfg
from oslo_policy.policy import Enforcer, InvalidDefinitionError, RuleDefault, Rules, parse_file_contents

from control_plane.auth.context import RequestContext, Role, context
from control_plane.auth.rules import OPERATIONS, PREFIX, list_rules
from control_plane.errors import Forbidden, nearest
from control_plane.settings import SettingsError

P = ParamSpec("P")
R = TypeVar("R")

_KNOWN = {rule.name for rule in OPERATIONS}


class Policy:
    """The rules in force. They are read once: a changed file takes a new start."""

    def __init__(self, file: Path | None = None) -> None:
        """Raises SettingsError for a file that cannot be used."""
        self.checks = {rule.name: rule.check_str for rule in list_rules()}
        if file is not None:
            self.checks |= _read(file)
        self._enforcer = Enforcer(cfg.ConfigOpts(), use_conf=False)
        self._enforcer.set_rules(Rules.from_dict(self.checks), use_conf=False)
        try:
            self._enforcer.check_rules(raise_on_violation=True)
        except InvalidDefinitionError as error:
            raise SettingsError(
                f"COFFRET_POLICY_FILE={file} has rules that refer to a rule that is not there, or to"
                f" themselves: {error}."
            ) from error
        # The rules in code depend on nothing else; those of a file may ask elsewhere (`http:`).
        self._decide = self._ask if file else functools.lru_cache(10_000)(self._ask)

    def check(self, rule: str, caller: RequestContext, project_id: str) -> None:
        """Raise Forbidden unless the rule lets the caller do it to what is `project_id`'s."""
        if not self._decide(rule, caller.roles, caller.project_id, caller.user_id, project_id):
            raise Forbidden(self._why(rule, caller, project_id), rule=rule)

    def _ask(self, rule: str, roles: frozenset[str], own: str, user: str, project_id: str) -> bool:
        caller = {"roles": sorted(roles), "project_id": own, "user_id": user}
        return bool(self._enforcer.enforce(rule, {"project_id": project_id}, caller))

    def _why(self, rule: str, caller: RequestContext, project_id: str) -> str:
        has = f"the token has {', '.join(sorted(caller.roles)) or 'no role'}"
        if project_id != caller.project_id:
            has += " in another project"
        for role in Role:
            if self._ask(rule, role.included, caller.project_id, caller.user_id, project_id):
                return f"This needs the role {role} (rule {rule!r}); {has}."
        return f"The rule {rule!r} is {self.checks[rule]!r} here; {has}."


def _read(file: Path) -> Mapping[str, str]:
    """The rules of a policy file, YAML or JSON."""
    try:
        read = parse_file_contents(file.read_text())
    except (OSError, ValueError) as error:
        raise SettingsError(f"COFFRET_POLICY_FILE={file} cannot be read: {error}") from error
    if not isinstance(read, dict):
        raise SettingsError(f"COFFRET_POLICY_FILE={file} is not a mapping of rules to checks.")
    for name, check in read.items():
        if str(name).startswith(PREFIX) and name not in _KNOWN:
            raise SettingsError(
                f"COFFRET_POLICY_FILE={file}: there is no rule {name!r}.{nearest(name, _KNOWN)}"
                " `coffret policy` prints all."
            )
        # what oslo.policy does not understand becomes `!`, which denies
        if not isinstance(check, str) or ("!" in str(RuleDefault(name, check).check) and "!" not in check):
            raise SettingsError(f"COFFRET_POLICY_FILE={file}: {name!r} is {check!r}, which is no check.")
    return cast(Mapping[str, str], read)


def authorize(operation: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a view's callers through as `ensure` does, before the body is read."""
    if PREFIX + operation not in _KNOWN:
        raise LookupError(f"auth/rules.py has no rule {PREFIX + operation!r}")

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(view)
        def authorized(*args: P.args, **kwargs: P.kwargs) -> R:
            ensure(operation)
            return view(*args, **kwargs)

        return authorized

    return decorate


def ensure(operation: str) -> None:
    """Raise Forbidden for a caller whom the rule `coffret:<operation>` does not allow.

    What the rule is asked about belongs to the project that the path names, else to the caller's.
    """
    caller = context()
    target = (request.view_args or {}).get("project", caller.project_id)
    policy: Policy = current_app.extensions["coffret_policy"]
    policy.check(PREFIX + operation, caller, target)


def sample() -> Iterator[str]:
    """The lines of a policy file with all rules as they are in code, commented out."""
    for rule in list_rules():
        yield f"# {rule.description}"
        for operation in getattr(rule, "operations", ()):
            yield f"# {operation['method']}  {operation['path']}"
        yield f'#"{rule.name}": "{rule.check_str}"'
        yield ""
