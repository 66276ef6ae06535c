"""The settings of the webhook process: the shared ones, the producers' keys, and how large a body may be."""

import re
from dataclasses import dataclass, field

from marshmallow import Schema, ValidationError, validate
from marshmallow import fields as ma

from jobs import settings as shared

#: What a bearer token may consist of, so that it can be sent in a header at all (RFC 6750 allows less).
_SENDABLE = re.compile(r"[\x21-\x7e]+")
#: A completed task of nine images with long signed URLs is below 20 KB (bytes).
CALLBACK_LIMIT = 256 * 1024
#: Four base64 images of 10 MB each are 54 MiB (bytes). A line of a batch is held to the same limit.
JOB_LIMIT = 64 * 1024 * 1024


def _sendable(keys: list[str]) -> None:
    if not all(_SENDABLE.fullmatch(key) for key in keys):
        # Not the key itself: this text ends up in a log.
        raise ValidationError("each must be printable ASCII without spaces, or no header can carry it")


class Environment(shared.Environment):
    """The variables of this process, as text."""

    api_keys = shared.CommaSeparated(data_key="BOOMERANG_API_KEYS", load_default=list, validate=_sendable)
    max_callback = ma.Integer(
        data_key="BOOMERANG_MAX_CALLBACK", load_default=CALLBACK_LIMIT, validate=validate.Range(min=1024)
    )
    max_body = ma.Integer(data_key="BOOMERANG_MAX_BODY", load_default=JOB_LIMIT, validate=validate.Range(min=1024))


@dataclass(frozen=True, kw_only=True)
class Settings(shared.Settings):
    """What the webhook needs to know. Limits in bytes; without `api_keys` every producer is refused."""

    api_keys: tuple[str, ...] = field(default=(), repr=False)
    max_callback: int = CALLBACK_LIMIT
    max_body: int = JOB_LIMIT

    @classmethod
    def environment(cls) -> Schema:
        """The schema that reads this class's variables."""
        return Environment()
