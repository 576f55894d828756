"""Nothing that the provider has lacks an example, and the examples are valid."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from hcl import ADDRESS, ROOT, Terraform, completed

EXAMPLES = ROOT / "terraform-provider" / "examples"
KINDS = {
    "resources": (
        "resource_schemas",
        {"resource.tf", "import.sh", "import-by-string-id.tf", "import-by-identity.tf"},
    ),
    "data-sources": ("data_source_schemas", {"data-source.tf"}),
    "functions": ("functions", {"function.tf"}),
    "list-resources": ("list_resource_schemas", {"list-resource.tfquery.hcl"}),
    "ephemeral-resources": ("ephemeral_resource_schemas", {"ephemeral-resource.tf"}),
    "actions": ("action_schemas", {"action.tf"}),
}  # fmt: skip
"""Folder -> where Terraform tells of them, and the files that tfplugindocs takes into the page of each."""


@pytest.fixture(scope="module")
def schemas(cli: Terraform, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("schemas")
    (folder / "main.tf").write_text(completed(""))
    shown = json.loads(cli.run(folder, "providers", "schema", "-json"))
    return shown["provider_schemas"][ADDRESS]


@pytest.mark.parametrize("folder", KINDS)
def test_everything_that_the_provider_has_has_its_examples(folder: str, schemas: Any) -> None:
    schema, files = KINDS[folder]
    found = {place.name: {file.name for file in place.iterdir()} for place in (EXAMPLES / folder).glob("*")}
    assert found == dict.fromkeys(schemas.get(schema, {}), files)


def test_there_is_no_kind_of_thing_without_examples(schemas: Any) -> None:
    known = {schema for schema, _ in KINDS.values()}
    assert set(schemas) - known <= {"provider", "resource_identity_schemas"}
    assert {place.name for place in EXAMPLES.iterdir()} <= {*KINDS, "provider"}


def test_the_examples_are_valid(cli: Terraform, tmp_path: Path) -> None:
    found = {
        re.sub(r"\W+", "_", str(file.relative_to(EXAMPLES).with_suffix(""))): completed(file.read_text())
        for file in EXAMPLES.glob("**/*.tf")
        if not file.name.startswith("import-")
    }
    assert len(found) > 20
    cli.validate_each(tmp_path, found)


def test_the_whole_examples_are_valid(cli: Terraform, tmp_path: Path) -> None:
    found = {
        folder.name.replace("-", "_"): "\n".join(file.read_text() for file in folder.glob("*.tf"))
        for folder in {file.parent for file in ROOT.glob("examples/**/main.tf")}
    }
    assert len(found) >= 4
    cli.validate_each(tmp_path, found)


@pytest.mark.parametrize("way", ["string-id", "identity"])
def test_the_import_blocks_are_valid(way: str, cli: Terraform, tmp_path: Path) -> None:
    imports = sorted(EXAMPLES.glob(f"resources/*/import-by-{way}.tf"))
    (tmp_path / "main.tf").write_text(completed("\n".join(file.read_text() for file in imports)))
    cli.validate(tmp_path)


def test_all_ways_of_an_import_name_the_same_thing(schemas: Any) -> None:
    for kind, identity in schemas["resource_identity_schemas"].items():
        folder = EXAMPLES / "resources" / kind
        command = shlex.split((folder / "import.sh").read_text())
        by_id = re.search(r'^  id = "(.*)"$', (folder / "import-by-string-id.tf").read_text(), re.MULTILINE)
        names = dict(
            re.findall(
                r'^    (\w+) += "(.*)"$', (folder / "import-by-identity.tf").read_text(), re.MULTILINE
            )
        )
        assert set(names) == set(identity["attributes"]), kind
        assert by_id is not None
        assert command == ["terraform", "import", f"{kind}.example", by_id[1]]
        assert by_id[1] == "/".join(names.values())


def test_the_queries_are_valid(cli: Terraform, tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text(completed('provider "coffret" {}'))
    for number, file in enumerate(sorted(EXAMPLES.glob("list-resources/*/*.tfquery.hcl"))):
        text = file.read_text().replace('"all"', f'"all_{number}"')
        (tmp_path / f"{number}.tfquery.hcl").write_text(text)
    cli.validate(tmp_path, "-query")
