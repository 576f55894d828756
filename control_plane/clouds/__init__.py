"""Clouds: small driver interfaces (base), composed; local and noop implement them."""

from typing import cast

from flask import current_app

from control_plane.clouds.base import (
    Cloud,
    CloudError,
    CloudObject,
    CloudPending,
    CloudRefusal,
    Flavor,
    Port,
    Server,
    ServerSpec,
    Volume,
)

__all__ = [
    "Cloud",
    "CloudError",
    "CloudObject",
    "CloudPending",
    "CloudRefusal",
    "Flavor",
    "Port",
    "Server",
    "ServerSpec",
    "Volume",
    "current",
]


def current() -> Cloud:
    """The cloud of this control plane."""
    return cast(Cloud, current_app.extensions["coffret_cloud"])
