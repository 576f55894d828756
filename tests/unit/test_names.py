"""The OpenAPI document's patterns are never stricter than the API is."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane import names
from control_plane.datastores.managers import MANAGERS
from control_plane.errors import Invalid
from control_plane.users.schemas import GrantSchema, UserSchema

LETTERS = st.sampled_from(" /\\@`\0\n\x7f%.:-_+|aZ9é\u0301\u00a0\u3000😀")
TEXTS = st.text(LETTERS | st.characters(exclude_categories=["Cs"]), max_size=6)
SETTINGS = settings(max_examples=300, derandomize=True, database=None, deadline=None)


def pattern(schema: type[UserSchema] | type[GrantSchema], field: str) -> str:
    found = schema().fields[field]
    return str(getattr(found, "inner", found).metadata["pattern"])


@SETTINGS
@given(name=TEXTS, manager=st.sampled_from(["postgresql", "mariadb"]))
def test_what_the_pattern_of_names_refuses_no_engine_may_have(name: str, manager: str) -> None:
    if not re.fullmatch(f"^{names.INNER}$", name):
        with pytest.raises(Invalid):
            MANAGERS[manager].check_database(name)
        with pytest.raises(Invalid):
            MANAGERS[manager].check_user(name)


@pytest.mark.parametrize(
    "name", ["app", "Größe (alt)", "app@10.0.0.%", "app@::1", "a b@10.0.0.0/255.255.255.0"]
)
def test_a_user_may_have_a_host(name: str) -> None:
    assert re.fullmatch(pattern(UserSchema, "name"), name)


@pytest.mark.parametrize("manager", MANAGERS.values(), ids=list(MANAGERS))
def test_the_pattern_of_privileges_allows_them_all(manager: object) -> None:
    for privilege in {*manager.privileges, "ALL", "+get", "-del", "+@read", "+config|get"}:
        assert re.fullmatch(pattern(GrantSchema, "privileges"), privilege), privilege


@SETTINGS
@given(text=TEXTS)
def test_what_the_pattern_of_keys_refuses_acl_rules_lack(text: str) -> None:
    if not re.fullmatch(pattern(GrantSchema, "keys"), text):
        assert not text or any(letter.isspace() or letter in "()%" for letter in text)
