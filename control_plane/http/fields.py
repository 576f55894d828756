"""Fields that several schemas share."""

from datetime import UTC, datetime
from typing import Any, get_args

import marshmallow as ma

from control_plane import names
from control_plane.http.bodies import BodySchema
from control_plane.impact import Effect

NAMED = {"pattern": names.PATTERN, "x-rule": names.RULE}
"""What the OpenAPI document says of a name; `x-rule` is a pattern in words."""
LONGEST_TEXT = 1024


def check_name(name: str) -> None:
    """Raise ValidationError unless `name` may be a resource's key."""
    if wrong := names.fault(name):
        raise ma.ValidationError(wrong)


class Text(ma.fields.String):
    """A string without control characters, of at most LONGEST_TEXT characters."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs)
        if len(text) > LONGEST_TEXT:
            raise ma.ValidationError(f"At most {LONGEST_TEXT} characters are allowed here.")
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
            raise ma.ValidationError("Control characters are not allowed here.")
        return text


class Mapping(ma.fields.Dict):
    """An object with free names. What is wrong with a name or its value is said at that name."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return super()._deserialize(value, *args, **kwargs)  # type: ignore[no-untyped-call]
        except ma.ValidationError as error:
            if not isinstance(error.messages, dict):
                raise
            messages = {name: [*halves.values()] for name, halves in error.messages.items()}
            raise ma.ValidationError(messages) from error


class Whole(ma.fields.Integer):
    """A JSON integer: no strings, no booleans, no 1.5."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strict=True, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, bool | str):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, *args, **kwargs)


class Flag(ma.fields.Boolean):
    """A JSON boolean: only true and false."""

    truthy = {True}  # noqa: RUF012 - marshmallow reads it from the class
    falsy = {False}  # noqa: RUF012

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Moment(ma.fields.AwareDateTime):
    """A time with its offset (RFC 3339), in UTC."""

    default_error_messages = {  # noqa: RUF012 - marshmallow reads it from the class
        "invalid": "It must be a time with its offset from UTC, such as 2030-12-31T18:00:00Z.",
        "invalid_awareness": "Say its offset from UTC, or Z, as in 2030-12-31T18:00:00Z.",
    }

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> datetime:
        try:
            return super()._deserialize(value, *args, **kwargs).astimezone(UTC)
        except OverflowError as error:  # in the year 0 or 10000 of UTC
            raise self.make_error("invalid", input=value) from error


class ConditionSchema(ma.Schema):
    """One aspect of the state, after the Kubernetes API conventions."""

    type = ma.fields.String(required=True)
    status = ma.fields.String(required=True, metadata={"enum": ["True", "False", "Unknown"]})
    reason = ma.fields.String(required=True)
    message = ma.fields.String(required=True)
    last_transition_time = ma.fields.String(required=True, metadata={"format": "date-time"})
    observed_generation = ma.fields.Integer(required=True)


class StatusSchema(ma.Schema):
    """What every status has."""

    phase = ma.fields.String(metadata={"description": "Where the resource is, in Trove's words."})
    ready = ma.fields.Boolean(metadata={"description": "Whether what is seen is what is wanted."})
    reconciling = ma.fields.Boolean(
        metadata={"description": "Whether work on it goes on.", "x-terraform": "omit"}
    )
    observed_generation = ma.fields.Integer(
        metadata={"description": "The generation that the status speaks of.", "x-terraform": "omit"}
    )
    message = ma.fields.String(
        metadata={"description": "What is wrong or going on, and what would help; else empty."}
    )


class ImpactSchema(ma.Schema):
    """What one change would do to what runs."""

    path = ma.fields.String(
        required=True,
        metadata={"description": "JSON pointer to the changed field; empty: the resource itself."},
    )
    effect = ma.fields.String(
        required=True,
        metadata={
            "enum": list(get_args(Effect)),
            "description": "What happens: `none` but a note, or in the end `data_loss`.",
        },
    )
    instances = ma.fields.List(
        ma.fields.String(),
        required=True,
        metadata={"description": "Names of the instances that it happens to."},
    )
    interruption = ma.fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "Estimated seconds without service; null: unknown, or for good."},
    )
    sentence = ma.fields.String(required=True, metadata={"description": "The same for people."})


class DryRunSchema(ma.Schema):
    """What every resource has in the answer to a dry run."""

    impact = ma.fields.List(
        ma.fields.Nested(ImpactSchema),
        dump_only=True,
        metadata={
            "description": "With `dry_run=true`: what each change would do.",
            "x-terraform": "omit",
        },
    )


class ResourceSchema(BodySchema, DryRunSchema):
    """What every resource has beside its own fields."""

    id = ma.fields.String(
        dump_only=True,
        metadata={
            "description": "UUID; tells two incarnations of a name apart.",
            "format": "uuid",
            "x-stable": True,
        },
    )
    generation = ma.fields.Integer(
        dump_only=True, metadata={"description": "Counts changes of what is desired."}
    )
    created_at = ma.fields.DateTime(dump_only=True, metadata={"description": "RFC 3339.", "x-stable": True})
    updated_at = ma.fields.DateTime(
        dump_only=True, metadata={"description": "RFC 3339.", "x-terraform": "omit"}
    )


def list_schema(item: type[ma.Schema]) -> type[ma.Schema]:
    """The schema of a page of items."""
    name = item.__name__.removesuffix("Schema") + "List"
    return ma.Schema.from_dict(
        {
            "items": ma.fields.List(ma.fields.Nested(item), required=True),
            "links": ma.fields.List(ma.fields.Nested(LinkSchema), required=True),
        },
        name=name,
    )


class LinkSchema(ma.Schema):
    rel = ma.fields.String(required=True, metadata={"enum": ["next"]})
    href = ma.fields.String(required=True)


def _check_label(name: str) -> None:
    if not names.is_label(name):
        raise ma.ValidationError(f"A label's name {names.LABEL_RULE}.")


def labels() -> Mapping:
    """Free-form labels."""
    return Mapping(
        keys=Text(
            validate=_check_label,
            metadata={"pattern": f"^{names.LABEL_PATTERN}$", "x-rule": names.LABEL_RULE},
        ),
        values=Text(validate=ma.validate.Length(0, 255)),
        load_default=dict,
        validate=ma.validate.Length(max=64),
        metadata={
            "description": "Labels, free to choose; lists can be filtered by them.",
            "default": {},
        },
    )
