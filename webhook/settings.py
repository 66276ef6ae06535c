"""The settings of the webhook process: the shared ones, the producers' keys, and how large a body may be."""

from dataclasses import dataclass, field

from marshmallow import Schema, ValidationError, validate
from marshmallow import fields as ma

from jobs import settings as shared
from webhook.keys import Key

#: A completed task of nine images with long signed URLs is below 20 KB (bytes).
CALLBACK_LIMIT = 256 * 1024
#: Four base64 images of 10 MB each are 54 MiB (bytes). A line of a batch is held to the same limit.
JOB_LIMIT = 64 * 1024 * 1024


def _valid_keys(texts: list[str]) -> None:
    problems: list[str] = []
    seen: set[bytes] = set()
    # By number: the keys themselves, or what is in front of a colon, would end up in a log.
    for number, text in enumerate(texts, 1):
        try:
            key = Key.parse(text)
        except ValueError as error:
            problems.append(f"key {number}: {error}")
            continue
        if key.digest in seen:
            problems.append(f"key {number}: its secret is there already; every key needs its own")
        seen.add(key.digest)
    if problems:
        raise ValidationError(problems)


class Environment(shared.Environment):
    """The variables of this process, as text."""

    api_keys = shared.CommaSeparated(data_key="BOOMERANG_API_KEYS", load_default=list, validate=_valid_keys)
    max_callback = ma.Integer(
        data_key="BOOMERANG_MAX_CALLBACK", load_default=CALLBACK_LIMIT, validate=validate.Range(min=1024)
    )
    max_body = ma.Integer(data_key="BOOMERANG_MAX_BODY", load_default=JOB_LIMIT, validate=validate.Range(min=1024))


@dataclass(frozen=True, kw_only=True)
class Settings(shared.Settings):
    """What the webhook needs to know. Limits in bytes.

    `api_keys` as webhook.keys reads them; without any every producer is refused.
    """

    api_keys: tuple[str, ...] = field(default=(), repr=False)
    max_callback: int = CALLBACK_LIMIT
    max_body: int = JOB_LIMIT

    @classmethod
    def environment(cls) -> Schema:
        """The schema that reads this class's variables."""
        return Environment()
