"""Who calls and what they may do."""

from control_plane.auth.context import RequestContext, Role, context, require

__all__ = ["RequestContext", "Role", "context", "require"]
