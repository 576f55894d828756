"""Who calls and what they may do."""

from control_plane.auth.context import Role, RequestContext, context, require

__all__ = ["RequestContext", "Role", "context", "require"]
