"""Clouds: small driver interfaces (base), composed; local and noop implement them."""

from control_plane.clouds.base import (
    Cloud,
    CloudError,
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
    "CloudRefusal",
    "Flavor",
    "Port",
    "Server",
    "ServerSpec",
    "Volume",
]
