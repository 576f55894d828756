"""The generator maps what it knows, fails on what it does not, and says the same thing each time."""

import copy
from pathlib import Path
from typing import Any

import pytest
from codegen.document import Unmapped
from codegen.render import files

PROVIDER = Path(__file__).parents[2] / "terraform-provider"


def test_what_is_committed_is_what_the_document_makes(document: Any) -> None:
    made = files(document)
    for path, text in made.items():
        assert (PROVIDER / path).read_text() == text, path
    committed = {path.relative_to(PROVIDER) for path in PROVIDER.glob("internal/**/zz_*.go")}
    assert committed == {path for path in made if path.name.startswith("zz_")}


def test_the_same_document_makes_the_same_files(document: Any) -> None:
    assert files(document) == files(copy.deepcopy(document))


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ({"type": "string", "default": None}, "null, which it may not be"),
        ({"type": "frobnicate", "default": "x"}, "'frobnicate' is not one that Terraform has"),
        ({"type": ["string", "integer"], "default": "x"}, "is not one that Terraform has"),
        ({"type": "string", "default": "x", "x-frobnicate": True}, "x-frobnicate has no mapping"),
        ({"type": "string", "default": "x", "x-terraform": "frobnicate"}, "knows only `omit`"),
        ({"type": "string", "default": "x", "format": "ipv4"}, "format 'ipv4' has no mapping"),
        ({"type": "string", "default": 5}, "the default 5 is no string"),
        ({"type": "integer", "default": True}, "the default True is no integer"),
        ({"type": "integer", "default": 1, "maxLength": 5}, "maxLength has no validator for a integer"),
        ({"type": "string", "default": "x", "pattern": "(?=x)"}, "no look-around"),
        ({"type": "string", "default": "x", "pattern": "x"}, "x-rule says what its pattern demands"),
        ({"type": "string", "default": "x", "format": "uuid"}, "format 'uuid' has no validator"),
        ({"type": "string"}, "optional and not nullable, so it needs a default"),
        ({"type": ["string", "null"], "default": "x"}, "cannot tell null from left out"),
        ({"type": "string", "default": "x", "readOnly": True, "x-immutable": True}, "readOnly excludes"),
        ({"type": "string", "default": "x", "x-stable": True}, "x-stable is for what the server owns"),
        ({"type": ["string", "null"], "default": None, "writeOnly": True}, "needs its version beside it"),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, "oneOf has no mapping"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "only as one schema or null"),
        ({"$ref": "#/components/schemas/Nowhere"}, "leads nowhere"),
        ({"type": "object", "additionalProperties": True, "default": {}}, "any kind have no mapping"),
        ({"type": "array", "items": {"type": ["string", "null"]}, "default": []}, "may be null"),
        ({"type": "array", "items": {"type": "string"}, "default": ["a"]}, "not empty has no mapping"),
    ],
)
def test_what_is_unknown_is_an_error_that_names_the_field(
    document: Any, field: dict[str, Any], reason: str
) -> None:
    changed = copy.deepcopy(document)
    changed["components"]["schemas"]["Database"]["properties"]["novelty"] = field
    with pytest.raises(Unmapped, match=reason) as error:
        files(changed)
    assert "database" in str(error.value)


def test_a_resource_without_a_key_is_an_error(document: Any) -> None:
    changed = copy.deepcopy(document)
    del changed["components"]["schemas"]["Database"]["properties"]["name"]["x-key"]
    with pytest.raises(Unmapped, match="one field has x-key, not 0"):
        files(changed)


def test_an_action_that_nothing_is_said_of_is_an_error(document: Any) -> None:
    changed = copy.deepcopy(document)
    changed["components"]["schemas"]["ActionRequest"]["properties"]["type"]["enum"].append("polish")
    with pytest.raises(Unmapped, match="says what each type of action does"):
        files(changed)


def test_a_field_that_a_resource_has_twice_is_an_error(document: Any) -> None:
    changed = copy.deepcopy(document)
    changed["components"]["schemas"]["Database"]["properties"]["phase"] = {
        "type": "string",
        "readOnly": True,
    }
    with pytest.raises(Unmapped, match="phase stands at the top and under status"):
        files(changed)


def test_a_new_field_appears_everywhere(document: Any) -> None:
    changed = copy.deepcopy(document)
    changed["components"]["schemas"]["Database"]["properties"]["novelty"] = {
        "type": "string",
        "default": "plain",
        "enum": ["plain", "odd", None],
        "x-immutable": True,
        "description": "How new it is.",
    }
    made = files(changed)
    resource = made[Path("internal/service/database/zz_resource.go")]
    assert '{Attr: "novelty", JSON: []string{"novelty"}, Sent: true}' in resource
    assert 'stringdefault.StaticString("plain")' in resource
    assert 'stringvalidator.OneOf("plain", "odd")' in resource
    assert "stringplanmodifier.RequiresReplace()" in resource
    assert '"novelty": schema.StringAttribute{' in made[Path("internal/service/database/zz_data_source.go")]
