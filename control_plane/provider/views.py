"""The provider registry protocol, for `terraform init`. Whoever may reach this host may have the provider.

https://developer.hashicorp.com/terraform/internals/provider-registry-protocol
"""

from typing import Any

from flask import Blueprint, Response, current_app, request, send_file, url_for

from control_plane.http import answers
from control_plane.provider.releases import Releases

blueprint = Blueprint("provider", __name__)
PROVIDERS = "/terraform/providers/v1/"
PROVIDER = f"{PROVIDERS}coffret/coffret"


def _releases() -> Releases:
    found: Releases = current_app.extensions["coffret_releases"]
    return found


@blueprint.get("/.well-known/terraform.json")
def discovery() -> Response:
    """https://developer.hashicorp.com/terraform/internals/remote-service-discovery"""
    return _answer({"providers.v1": request.script_root + PROVIDERS} if _releases().versions else {})


@blueprint.get(f"{PROVIDER}/versions")
def versions() -> Response:
    offered = [
        {
            "version": version,
            "protocols": release.protocols,
            "platforms": [{"os": system, "arch": machine} for system, machine in release.packages],
        }
        for version, release in _releases().versions.items()
    ]
    return _answer({"versions": offered})


@blueprint.get(f"{PROVIDER}/<version>/download/<system>/<machine>")
def package(version: str, system: str, machine: str) -> Response:
    """URLs are relative to the host, so that it may have any name. Terraform checks the signature."""
    release, zipped = _releases().package(version, system, machine)
    return _answer(
        {
            "protocols": release.protocols,
            "os": system,
            "arch": machine,
            "filename": zipped.path.name,
            "download_url": url_for(".file", name=zipped.path.name),
            "shasum": zipped.sha256,
            "shasums_url": url_for(".file", name=release.sums.path.name),
            "shasums_signature_url": url_for(".file", name=release.signature.path.name),
            "signing_keys": {
                "gpg_public_keys": [
                    {"key_id": key_id, "ascii_armor": armored} for key_id, armored in release.keys.items()
                ]
            },
        }
    )


@blueprint.get("/terraform/files/<name>")
def file(name: str) -> Response:
    found = _releases().file(name)
    kind = "application/zip" if found.path.suffix == ".zip" else "application/octet-stream"
    return send_file(found.path.absolute(), mimetype=kind, etag=found.sha256)


def _answer(body: dict[str, Any]) -> Response:
    response = answers.plain(body)
    response.add_etag()
    response.make_conditional(request)
    return response
