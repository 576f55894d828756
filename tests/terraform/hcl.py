"""HCL out of documents and examples: what it leaves out, and whether it is valid."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
ADDRESS = "registry.terraform.io/coffret/coffret"
SOURCES = (
    ADDRESS,
    "coffret.example.org:8779/coffret/coffret",
    "registry.terraform.io/terraform-provider-openstack/openstack",
)
"""Where documents have a provider from. All have this checkout's, which stands in for what is not ours."""

STAND_INS = {
    # other providers, which are not here
    "openstack_networking_network_v2.app.id": '"a-network"',
    'ephemeral "vault_kv_secret_v2" "app" {\n  mount = "secret"\n  name  = "orders/app"\n}': (
        'variable "from_vault" {}'
    ),
    "ephemeral.vault_kv_secret_v2.app.data.password": "var.from_vault",
    'provider "postgresql" {': "locals {",
    # modules, from wherever the reader has them
    '"./modules/': f'"{ROOT}/examples/modules/',
    '"./examples/modules/': f'"{ROOT}/examples/modules/',
    # what the text has just shown
    '"coffret_configuration_group" "orders" {\n  # …': (
        '"coffret_configuration_group" "orders" {\n  name = "x"\n  datastore = "x"\n  parameters = {}'
    ),
}
LEAST = {
    "coffret_configuration_group": 'name = "x"\n datastore = "x"\n parameters = {}',
    "coffret_database": 'name = "x"\n instance = "x"',
    "coffret_datastore": 'name = "x"\n manager = "postgresql"',
    "coffret_datastore_version": 'name = "x"\n datastore = "x"',
    "coffret_instance": 'name = "x"\n datastore = "x"\n flavor = "x"\n volume = { size = 1 }',
    "coffret_user": 'name = "x"\n instance = "x"',
    "data.coffret_flavor": 'name = "x"',
    "ephemeral.coffret_user": 'instance = "x"\n grants = []',
}
"""The least that a resource or data source can be, where a block refers to one that it does not have."""


def completed(block: str) -> str:
    """The block with stand-ins, and with the least of each thing that it refers to and does not have."""
    for text, stand_in in STAND_INS.items():
        block = block.replace(text, stand_in)
    made = [block]
    if "required_providers" not in block:
        made.append(f'terraform {{\n required_providers {{\n coffret = {{ source = "{ADDRESS}" }}\n }}\n}}')
    for name in sorted(set(re.findall(r"\bvar\.(\w+)", block)) - variables(block)):
        made.append(f'variable "{name}" {{}}')
    referred = re.findall(r'(?<![\w."])(data\.|ephemeral\.)?(coffret_\w+)\.(\w+)', block)
    for before, kind, name in sorted(set(referred)):
        what = before.rstrip(".") or "resource"
        if not re.search(rf'^{what} "{kind}" "{name}"', block, re.MULTILINE):
            made.append(f'{what} "{kind}" "{name}" {{\n {LEAST[before + kind]}\n}}')
    return "\n".join(made)


def variables(block: str, *, needed: bool = False) -> set[str]:
    """Names of the variables that it declares; only those without a default if `needed`."""
    found = re.findall(r'^variable "(\w+)" {(?:([^\n]*)}$|(.*?)^})', block, re.MULTILINE | re.DOTALL)
    return {name for name, line, lines in found if not needed or "default" not in line + lines}


class Terraform:
    """The CLI, to which this checkout's provider is whatever a document asks for."""

    def __init__(self, program: str, environment: Mapping[str, str], folder: Path) -> None:
        built = Path(environment["TF_CLI_CONFIG_FILE"]).parent / "terraform-provider-coffret"
        overrides = []
        for number, source in enumerate(SOURCES):
            place = folder / str(number)
            place.mkdir()
            (place / f"terraform-provider-{source.rpartition('/')[2]}").symlink_to(built)
            overrides.append(f'"{source}" = "{place}"')
        settings = folder / "terraformrc"
        settings.write_text(
            "provider_installation {\n dev_overrides {\n" + "\n".join(overrides) + "\n }\n}\n"
        )
        self._program = program
        self._environment = dict(environment) | {"TF_CLI_CONFIG_FILE": str(settings)}

    def run(self, folder: Path, *arguments: str) -> str:
        done = subprocess.run(
            [self._program, *arguments], cwd=folder, env=self._environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def validate(self, folder: Path, *options: str) -> None:
        """Fails with all that is wrong in the folder and in its modules."""
        self.run(folder, "get", "-no-color")
        self.run(folder, "validate", "-no-color", *options)

    def validate_each(self, folder: Path, blocks: Mapping[str, str]) -> None:
        """As a module each, so that the CLI is started once; by name."""
        calls = ['variable "any" {}']
        for name, block in blocks.items():
            (folder / name).mkdir()
            (folder / name / "main.tf").write_text(block)
            given = "".join(f"  {each} = var.any\n" for each in variables(block, needed=True))
            calls.append(f'module "{name}" {{\n  source = "./{name}"\n{given}}}')
        (folder / "main.tf").write_text("\n".join(calls))
        self.validate(folder)
