from typing import Any

import marshmallow as ma

from control_plane import names
from control_plane.http.bodies import BodySchema
from control_plane.http.fields import Moment, ResourceSchema, StatusSchema, Text, Whole, list_schema

LONGEST_PASSWORD = 128
_ACL_PATTERN = {"pattern": r"^[^\s()%]+$", "x-rule": "must have no space, '(', ')' or '%'"}


def _password(text: str) -> None:
    if not 8 <= len(text) <= LONGEST_PASSWORD or not text.isprintable():
        raise ma.ValidationError(f"A password has 8 to {LONGEST_PASSWORD} printable characters.")


class GrantSchema(BodySchema):
    """What a user may do, where."""

    database = Text(
        load_default=None,
        allow_none=True,
        metadata={"description": "Name or id of a database of the instance (PostgreSQL, MariaDB)."},
    )
    privileges = ma.fields.List(
        Text(
            validate=ma.validate.Length(1, 64),
            metadata={
                "pattern": r"^(?:[A-Za-z]+(?: [A-Za-z]+)*|[+-]@?[A-Za-z0-9._|-]+)$",
                "x-rule": "must be a privilege such as SELECT or ALL, or on Valkey a rule such as +@read",
            },
        ),
        required=True,
        validate=ma.validate.Length(1, 64),
        metadata={
            "description": "Privileges in the engine's words, `ALL` for all of them; on Valkey ACL"
            " rules such as `+@read`.",
            "x-set": True,
        },
    )
    keys = ma.fields.List(
        Text(validate=ma.validate.Length(1, 255), metadata=_ACL_PATTERN),
        load_default=list,
        validate=ma.validate.Length(max=64),
        metadata={
            "description": "Key patterns (Valkey), such as `orders:*`.",
            "default": [],
            "x-set": True,
        },
    )
    channels = ma.fields.List(
        Text(validate=ma.validate.Length(1, 255), metadata=_ACL_PATTERN),
        load_default=list,
        validate=ma.validate.Length(max=64),
        metadata={
            "description": "Patterns of publish/subscribe channels (Valkey).",
            "default": [],
            "x-set": True,
        },
    )

    @ma.post_load
    def _order(self, grant: dict[str, Any], **_: Any) -> dict[str, Any]:
        return grant | {name: sorted(set(grant[name])) for name in ("privileges", "keys", "channels")}


class UserStatusSchema(StatusSchema):
    managed = ma.fields.Boolean(
        metadata={"description": "False: seen in the engine, but nobody's here; a PUT adopts it."}
    )
    uris = ma.fields.Dict(
        keys=ma.fields.String(),
        values=ma.fields.String(),
        metadata={
            "description": "Connection URI, without the password, for each database that it has grants on.",
        },
    )


class UserSchema(ResourceSchema):
    """A user inside an instance, with its grants."""

    name = Text(
        attribute="key",
        metadata={
            "description": "Name of the user, on MariaDB with its host: `app@10.0.0.%` (`%` when"
            " left out); its key in the instance.",
            "minLength": 1,
            "maxLength": 336,
            "pattern": f"^{names.INNER}(?:@[A-Za-z0-9.:_%/-]{{1,255}})?$",
            "x-rule": f"{names.INNER_RULE}; an '@' before the host that it may come from (MariaDB)",
            "x-key": True,
            "x-immutable": True,
        },
    )
    password = ma.fields.String(
        load_only=True,
        validate=_password,
        metadata={
            "description": "The password. Only a verifier is kept of it; needed for a new user.",
            "format": "password",
            "minLength": 8,
            "maxLength": LONGEST_PASSWORD,
            "writeOnly": True,
        },
    )
    password_version = Whole(
        load_default=None,
        allow_none=True,
        validate=ma.validate.Range(0, 2**31 - 1),
        metadata={"description": "Yours to count: a new number goes with a new password."},
    )
    grants = ma.fields.List(
        ma.fields.Nested(GrantSchema),
        load_default=list,
        validate=ma.validate.Length(max=100),
        metadata={
            "description": "What the user may do; nothing else is left to it.",
            "default": [],
            "x-set": True,
        },
    )
    deletion_policy = Text(
        load_default="reassign",
        validate=ma.validate.OneOf(["reassign", "refuse", "abandon"]),
        metadata={
            "description": "What becomes of what it owns in the engine when it is deleted: it goes to the"
            " database's owner (`reassign`), or the user stays, in ERROR with a message that says what it"
            " owns, until that is nothing (`refuse`), or all stays in the engine and the user is forgotten"
            " (`abandon`)."
        },
    )
    expires_at = Moment(
        load_default=None,
        allow_none=True,
        metadata={
            "description": "When the user is dropped, as RFC 3339 says times: for access that must end"
            " though nobody ends it. Null: never."
        },
    )
    status = ma.fields.Nested(UserStatusSchema, dump_only=True)


UserListSchema = list_schema(UserSchema)
