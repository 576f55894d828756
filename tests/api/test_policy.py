"""Policy: every operation has its rule, a policy file goes before the rules in code."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from contract import INSTANCE, Api, problem
from foreign import body, located, operations, own, sent_by

from control_plane.auth import RequestContext, Role
from control_plane.auth.policy import Policy, sample
from control_plane.auth.rules import OPERATIONS, list_rules
from control_plane.errors import Forbidden
from control_plane.settings import SettingsError

READER = RequestContext("project", "someone", Role.READER.included)
MEMBER = RequestContext("project", "someone", Role.MEMBER.included)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "policy.yaml"


class Asked(Policy):
    """Allows everything and keeps which rules were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.rules: list[str] = []

    def check(self, rule: str, caller: RequestContext, project_id: str) -> None:
        self.rules.append(rule)


def test_every_operation_asks_the_one_rule_that_names_it(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    document = api.app.test_client().get("/openapi.json").json
    names, _ = own(sent_by(api), "project")
    asked = Asked()
    monkeypatch.setitem(api.app.extensions, "coffret_policy", asked)
    found = {}
    for method, template in operations(document):
        asked.rules.clear()
        api(method, located(template, names).removeprefix("/v1"), body(method, template))
        assert len(asked.rules) == 1, (method, template, asked.rules)
        found[method, template] = asked.rules[0]
    assert found == {
        (operation["method"], operation["path"]): rule.name
        for rule in OPERATIONS
        for operation in rule.operations
        if "?" not in operation["path"]
    }


def test_what_the_command_prints_is_a_policy_file_that_changes_nothing(file: Path) -> None:
    run = [sys.executable, "-m", "control_plane.cli", "policy"]
    printed = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    assert printed.splitlines() == "\n".join(sample()).rstrip().splitlines()
    rules = [line.removeprefix("#") for line in printed.splitlines() if line.startswith('#"')]
    file.write_text("\n".join(rules))
    assert yaml.safe_load(file.read_text()) == {rule.name: rule.check_str for rule in list_rules()}
    assert Policy(file).checks == Policy().checks


def test_a_policy_file_decides(api: Api, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(
        '"coffret:instances:update": "rule:admin"\n'
        '"coffret:instances:list": "role:auditor"\n'
        '"coffret:quotas:update": "rule:member"\n'
    )
    monkeypatch.setitem(api.app.extensions, "coffret_policy", Policy(file))
    denied = problem(api.put("/instances/orders", INSTANCE), 403, "forbidden", says="needs the role admin")
    assert denied["rule"] == "coffret:instances:update"
    assert "the token has member, reader" in denied["detail"]
    assert api.admin.put("/instances/orders", INSTANCE).status_code == 202
    problem(api.admin.get("/instances"), 403, "forbidden", says="is 'role:auditor' here")
    assert api.put("/quotas/project", {}).status_code == 201


def test_what_is_read_with_an_instance_has_rules_of_its_own(
    filled: Api, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('"coffret:users:list": "rule:admin"')
    monkeypatch.setitem(filled.app.extensions, "coffret_policy", Policy(file))
    assert filled.get("/instances/orders?include=databases").status_code == 200
    denied = filled.get("/instances/orders?include=databases,users")
    problem(denied, 403, "forbidden", says="rule 'coffret:users:list'")


def test_the_page_on_identity_names_rules_that_there_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operators" / "identity.md").read_text()
    named = set(re.findall(r"coffret:[a-z_:]+[a-z]", page))
    assert len(named) > 2
    assert named <= {rule.name for rule in OPERATIONS}


@pytest.mark.parametrize("check", ["rule:owner", "project_id:%(project_id)s and role:reader"])
def test_a_policy_file_may_have_rules_of_its_own(file: Path, check: str) -> None:
    file.write_text(f'owner: "user_id:someone"\n"coffret:instances:get": "{check}"\n')
    policy = Policy(file)
    policy.check("coffret:instances:get", READER, "project")
    stranger = RequestContext("elsewhere", "other", Role.READER.included)
    with pytest.raises(Forbidden):
        policy.check("coffret:instances:get", stranger, "project")


def test_roles_that_nobody_knows_allow_nothing() -> None:
    other = RequestContext("project", "someone", frozenset({"heat_stack_owner"}))
    for rule in OPERATIONS:
        with pytest.raises(Forbidden) as refused:
            Policy().check(rule.name, other, "project")
        assert "the token has heat_stack_owner" in refused.value.detail


def test_a_cloud_without_implied_roles_needs_only_the_highest() -> None:
    """Keystone's admin implies member and reader where it was set up so, which is not everywhere."""
    policy = Policy()
    for role in ("member", "admin"):
        alone = RequestContext("project", "someone", frozenset({role}))
        policy.check("coffret:instances:get", alone, "project")
        policy.check("coffret:instances:update", alone, "project")


def test_a_quota_is_its_own_projects_and_the_admins_to_see() -> None:
    policy = Policy()
    policy.check("coffret:quotas:get", READER, "project")
    with pytest.raises(Forbidden) as refused:
        policy.check("coffret:quotas:get", MEMBER, "elsewhere")
    assert "needs the role admin" in refused.value.detail
    assert "in another project" in refused.value.detail
    policy.check("coffret:quotas:get", RequestContext("p", "u", Role.ADMIN.included), "elsewhere")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('"coffret:instances:gett": "@"', "Did you mean 'coffret:instances:get'?"),
        ('"coffret:instances:get": "role:a and and"', "'coffret:instances:get' is 'role:a and and'"),
        ('"coffret:instances:get": "rule:reader and admin"', "which is no check"),
        ('"coffret:instances:get": 7', "which is no check"),
        ('"coffret:instances:get": "rule:nobody"', "coffret:instances:get"),
        ('"member": "rule:reader"', "refer to a rule that is not there, or to themselves"),
        ("[1, 2]", "is not a mapping"),
        ("a: [1", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_policy_file_is_refused_at_the_start(file: Path, content: Any, says: str) -> None:
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError) as refused:
        Policy(file)
    assert says in refused.value.detail
    assert str(file) in refused.value.detail
