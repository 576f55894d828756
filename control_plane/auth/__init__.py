"""Who calls and what they may do."""

from control_plane.auth.context import RequestContext, Role, context
from control_plane.auth.policy import authorize, ensure

__all__ = ["RequestContext", "Role", "authorize", "context", "ensure"]
