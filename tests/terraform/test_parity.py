"""Every field of the API is an attribute of the built provider, with the same say in it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

RESOURCES = {
    "datastore": ("Datastore", set[str]()),
    "datastore_version": ("DatastoreVersion", {"datastore"}),
    "configuration_group": ("ConfigurationGroup", set[str]()),
    "instance": ("Instance", set[str]()),
    "database": ("Database", {"instance"}),
    "user": ("User", {"instance"}),
}
REQUIRES = """
terraform {
  required_providers {
    coffret = { source = "registry.terraform.io/coffret/coffret" }
  }
}
"""
OWN = {"configuration_group": {"on_restart"}, "instance": {"on_restart"}}
"""Attributes that the API has nothing of."""
RENAMED = {"password": "password_wo", "password_version": "password_wo_version"}


@pytest.fixture(scope="module")
def provider(environment: dict[str, str], terraform: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The provider's schema, as Terraform tells it."""
    folder: Path = tmp_path_factory.mktemp("schema")
    (folder / "main.tf").write_text(REQUIRES)
    answer = subprocess.run(
        [terraform, "providers", "schema", "-json"], cwd=folder, env=environment, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    return json.loads(answer.stdout)["provider_schemas"]["registry.terraform.io/coffret/coffret"]


def fields(document: Any, name: str) -> dict[str, Any]:
    """The fields that Terraform is to have, those of the status among them."""
    schemas = document["components"]["schemas"]
    found = dict(schemas[name]["properties"])
    status = found.pop("status", None)
    if status:
        inner = schemas[status["$ref"].rpartition("/")[2]]["properties"]
        found |= {field: {**schema, "readOnly": True} for field, schema in inner.items()}
    return {field: schema for field, schema in found.items() if schema.get("x-terraform") != "omit"}


@pytest.mark.parametrize("kind", RESOURCES)
def test_a_resource_has_every_field_and_nothing_else(kind: str, document: Any, provider: Any) -> None:
    schema, parents = RESOURCES[kind]
    attributes = provider["resource_schemas"][f"coffret_{kind}"]["block"]["attributes"]
    wanted = {RENAMED.get(field, field) for field in fields(document, schema)}
    whole = {"effective_labels"} if "labels" in wanted else set()
    assert set(attributes) == wanted | whole | parents | OWN.get(kind, set())


@pytest.mark.parametrize("kind", RESOURCES)
def test_who_owns_a_field_in_the_api_owns_the_attribute(kind: str, document: Any, provider: Any) -> None:
    schema, parents = RESOURCES[kind]
    required = set(document["components"]["schemas"][schema].get("required", []))
    attributes = provider["resource_schemas"][f"coffret_{kind}"]["block"]["attributes"]
    for field, facts in fields(document, schema).items():
        attribute = attributes[RENAMED.get(field, field)]
        mine = not facts.get("readOnly", False)
        assert attribute.get("required", False) == (field in required or facts.get("x-key", False)), field
        assert (attribute.get("required") or attribute.get("optional", False)) == mine, field
        has_default = facts.get("default") is not None
        assert attribute.get("computed", False) == (not mine or has_default), field
        assert attribute.get("write_only", False) == facts.get("writeOnly", False), field
        assert facts.get("description", "") in attribute.get("description", ""), field
    assert all(attributes[parent]["required"] for parent in parents)


@pytest.mark.parametrize("kind", RESOURCES)
def test_a_data_source_shows_all_that_can_be_read(kind: str, document: Any, provider: Any) -> None:
    schema, parents = RESOURCES[kind]
    attributes = provider["data_source_schemas"][f"coffret_{kind}"]["block"]["attributes"]
    readable = {
        RENAMED.get(field, field)
        for field, facts in fields(document, schema).items()
        if not facts.get("writeOnly")
    }
    assert set(attributes) == readable | parents
    needed = {name for name, attribute in attributes.items() if attribute.get("required")}
    assert needed == parents | {"name"}


def test_what_an_instance_can_be_told_to_do_is_an_action(document: Any, provider: Any) -> None:
    if "action_schemas" not in provider:
        pytest.skip("Terraform tells of actions since 1.14; make setup-dev puts one into .venv/bin")
    kinds = document["components"]["schemas"]["ActionRequest"]["properties"]["type"]["x-enumDescriptions"]
    assert set(provider["action_schemas"]) == {f"coffret_instance_{kind}" for kind in kinds}
    for kind, description in kinds.items():
        block = provider["action_schemas"][f"coffret_instance_{kind}"]["block"]
        assert block["description"] == description
        assert block["attributes"]["instance"]["required"]


def test_a_page_of_docs_tells_of_everything(provider: Any) -> None:
    docs = Path(__file__).parents[2] / "terraform-provider" / "docs"
    folders = {
        "resources": "resource_schemas",
        "data-sources": "data_source_schemas",
        "list-resources": "list_resource_schemas",
        "actions": "action_schemas",
        "ephemeral-resources": "ephemeral_resource_schemas",
    }
    if "list_resource_schemas" not in provider:  # Terraform before 1.14
        del folders["list-resources"], folders["actions"]
    for folder, kinds in folders.items():
        pages = {f"coffret_{page.stem}": page.read_text() for page in (docs / folder).glob("*.md")}
        assert set(pages) == set(provider[kinds])
        for kind, schema in provider[kinds].items():
            for attribute in schema["block"].get("attributes", {}):
                assert f"- `{attribute}` (" in pages[kind], f"{kind}.{attribute}"
    assert {page.stem for page in (docs / "functions").glob("*.md")} == set(provider["functions"])
