"""Who may do what: the rules in code, as oslo.policy has them. A policy file may say otherwise.

https://docs.openstack.org/oslo.policy/latest/user/usage.html
"""

from oslo_policy.policy import DocumentedRuleDefault, RuleDefault

PREFIX = "coffret:"
READER = "rule:reader"
MEMBER = "rule:member"
ADMIN = "rule:admin"
OWN_QUOTA = "rule:admin or (rule:reader and project_id:%(project_id)s)"

ROLES = (
    RuleDefault("admin", "role:admin", description="The cloud's operators."),
    RuleDefault(
        "member", "role:member or rule:admin", description="Those who make and change things in a project."
    ),
    RuleDefault(
        "reader", "role:reader or rule:member", description="Those who look at what is in a project."
    ),
)


def _rule(name: str, check: str, description: str, *operations: str) -> DocumentedRuleDefault:
    """`operations` are written as `GET /v1/flavors`."""
    requests = [
        {"method": method, "path": path}
        for method, path in (operation.split(" ") for operation in operations)
    ]
    return DocumentedRuleDefault(PREFIX + name, check, description, requests)  # type: ignore[arg-type]


_INSTANCE = "/v1/instances/{instance}"
_VERSION = "/v1/datastores/{datastore}/versions/{version}"
OPERATIONS = (
    _rule("datastores:list", READER, "List the datastores.", "GET /v1/datastores"),
    _rule("datastores:get", READER, "Show a datastore.", "GET /v1/datastores/{datastore}"),
    _rule(
        "datastores:update", ADMIN, "Create, replace or change a datastore.",
        "PUT /v1/datastores/{datastore}", "PATCH /v1/datastores/{datastore}",
    ),
    _rule("datastores:delete", ADMIN, "Delete a datastore.", "DELETE /v1/datastores/{datastore}"),
    _rule(
        "datastores:versions:list", READER, "List a datastore's versions.",
        "GET /v1/datastores/{datastore}/versions",
    ),
    _rule("datastores:versions:get", READER, "Show a datastore's version.", f"GET {_VERSION}"),
    _rule(
        "datastores:versions:update", ADMIN, "Create, replace or change a datastore's version.",
        f"PUT {_VERSION}", f"PATCH {_VERSION}",
    ),
    _rule("datastores:versions:delete", ADMIN, "Delete a datastore's version.", f"DELETE {_VERSION}"),
    _rule(
        "datastores:parameters:list", READER, "List a version's parameters.", f"GET {_VERSION}/parameters"
    ),
    _rule(
        "datastores:parameters:get", READER, "Show a version's parameter.",
        f"GET {_VERSION}/parameters/{{parameter}}",
    ),
    _rule("flavors:list", READER, "List the flavors.", "GET /v1/flavors"),
    _rule("flavors:get", READER, "Show a flavor.", "GET /v1/flavors/{flavor}"),
    _rule(
        "configuration_groups:list", READER, "List the project's configuration groups.",
        "GET /v1/configuration-groups",
    ),
    _rule(
        "configuration_groups:get", READER, "Show a configuration group.",
        "GET /v1/configuration-groups/{group}",
    ),
    _rule(
        "configuration_groups:update", MEMBER, "Create, replace or change a configuration group.",
        "PUT /v1/configuration-groups/{group}", "PATCH /v1/configuration-groups/{group}",
    ),
    _rule(
        "configuration_groups:delete", MEMBER, "Delete a configuration group.",
        "DELETE /v1/configuration-groups/{group}",
    ),
    _rule("instances:list", READER, "List the project's instances.", "GET /v1/instances"),
    _rule("instances:get", READER, "Show an instance.", f"GET {_INSTANCE}"),
    _rule(
        "instances:update", MEMBER, "Create, replace or change an instance.",
        f"PUT {_INSTANCE}", f"PATCH {_INSTANCE}",
    ),
    _rule("instances:delete", MEMBER, "Delete an instance with its data.", f"DELETE {_INSTANCE}"),
    _rule("instances:actions:list", READER, "List an instance's actions.", f"GET {_INSTANCE}/actions"),
    _rule(
        "instances:actions:get", READER, "Show an instance's action.", f"GET {_INSTANCE}/actions/{{action}}"
    ),
    _rule(
        "instances:actions:create", MEMBER, "Restart an instance's engine, or rebuild its server.",
        f"POST {_INSTANCE}/actions",
    ),
    _rule("databases:list", READER, "List an instance's databases.", f"GET {_INSTANCE}/databases"),
    _rule("databases:get", READER, "Show a database.", f"GET {_INSTANCE}/databases/{{database}}"),
    _rule(
        "databases:update", MEMBER, "Create, replace or change a database.",
        f"PUT {_INSTANCE}/databases/{{database}}", f"PATCH {_INSTANCE}/databases/{{database}}",
    ),
    _rule(
        "databases:delete", MEMBER, "Delete a database with its data.",
        f"DELETE {_INSTANCE}/databases/{{database}}",
    ),
    _rule("users:list", READER, "List an instance's users.", f"GET {_INSTANCE}/users"),
    _rule("users:get", READER, "Show a user.", f"GET {_INSTANCE}/users/{{user}}"),
    _rule(
        "users:update", MEMBER, "Create, replace or change a user.",
        f"PUT {_INSTANCE}/users/{{user}}", f"PATCH {_INSTANCE}/users/{{user}}",
    ),
    _rule("users:delete", MEMBER, "Delete a user.", f"DELETE {_INSTANCE}/users/{{user}}"),
    _rule("events:list", READER, "List the project's events.", "GET /v1/events"),
    _rule(
        "events:list_all", ADMIN, "List the events of all projects.", "GET /v1/events?all_projects=true"
    ),
    _rule(
        "quotas:get", OWN_QUOTA,
        "Show a project's quota. The target's `project_id` is the project that is asked for.",
        "GET /v1/quotas/{project}",
    ),
    _rule("quotas:update", ADMIN, "Set a project's quota.", "PUT /v1/quotas/{project}"),
    _rule("tokens:list", ADMIN, "List this control plane's own tokens, of all projects.", "GET /v1/tokens"),
    _rule("tokens:create", ADMIN, "Make a token for any project.", "POST /v1/tokens"),
    _rule("tokens:delete", ADMIN, "Revoke a token.", "DELETE /v1/tokens/{token}"),
)  # fmt: skip


def list_rules() -> list[RuleDefault]:
    """All of them, for oslopolicy-sample-generator and its like."""
    return [*ROLES, *OPERATIONS]
