"""What is written about the API is what it does: the OpenAPI document and the page of problems."""

import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from openapi_spec_validator import OpenAPIV31SpecValidator

from control_plane.http.problems import codes

ROOT = Path(__file__).parents[2]
METHODS = {"get", "put", "post", "patch", "delete"}


@pytest.fixture(scope="module")
def document(application: Flask) -> Any:
    return application.test_client().get("/openapi.json").json


def operations(document: Any) -> dict[tuple[str, str], Any]:
    return {
        (path, method): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


def test_the_document_is_openapi_3_1(document: Any) -> None:
    assert document["openapi"].startswith("3.1")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_every_route_is_in_the_document_and_nothing_else(application: Flask, document: Any) -> None:
    routes = {
        (re.sub(r"<(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in application.url_map.iter_rules()
        if rule.rule.startswith("/v1/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert len(routes) > 40
    assert set(operations(document)) == routes


def test_every_operation_says_what_it_does_and_how_it_fails(document: Any) -> None:
    for key, operation in operations(document).items():
        assert operation["summary"], key
        assert "default" in operation["responses"], key
        if key[1] in ("put", "post", "patch"):
            assert operation["requestBody"]["content"], key


def test_operations_have_names_of_their_own(document: Any) -> None:
    ids = [operation.get("operationId") for operation in operations(document).values()]
    named = [name for name in ids if name is not None]
    assert len(set(named)) == len(named)


def test_every_field_of_a_resource_is_described(document: Any) -> None:
    for name in ("Instance", "Database", "User", "ConfigurationGroup", "Datastore", "DatastoreVersion"):
        for field, schema in document["components"]["schemas"][name]["properties"].items():
            assert "description" in schema or "$ref" in schema, f"{name}.{field}"


def test_the_document_names_the_codes_there_are(document: Any) -> None:
    problem = document["components"]["schemas"]["Problem"]
    assert problem["properties"]["code"]["examples"] == sorted(codes())


def test_every_code_is_on_the_page_of_problems() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "control_plane").rglob("*.py"))
    direct = {code: int(status) for status, code in re.findall(r'problem\(\s*(\d+),\s*"(\w+)"', sources)}
    page = (ROOT / "docs" / "api" / "problems.md").read_text()
    documented = {code: int(status) for code, status in re.findall(r"^\| `(\w+)` \| (\d+) \|", page, re.M)}
    assert documented == codes() | direct
