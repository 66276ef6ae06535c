"""How the arguments of calls are written in URLs, and what errors say about repeating a call."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias
from urllib.parse import quote

from boomerang_client.errors import BoomerangError, ServiceUnavailable, TooBusy, UnexpectedAnswer, UsageError
from boomerang_client.record_fields import BatchFields

Query: TypeAlias = dict[str, str | int | float | Sequence[str]]


@contextmanager
def attach_repeat_id(id_: str) -> Iterator[None]:
    """Add `repeat_id` to errors after which the service has accepted work, or may have."""
    try:
        yield
    except BoomerangError as error:
        # An earlier try may have been accepted although the last one failed.
        if error.enqueued or isinstance(error, ServiceUnavailable | TooBusy | UnexpectedAnswer):
            error.repeat_id = id_
        raise


def path_segment(id_: str) -> str:
    """Quote an id for use as one segment of a URL's path."""
    return quote(id_, safe="", errors="surrogatepass")


def id_of(batch: "str | BatchFields") -> str:
    """Return a batch's id."""
    return batch.id if isinstance(batch, BatchFields) else batch


def label_params(labels: Mapping[str, str] | None) -> list[str]:
    """Write labels for a query: `name=value` each."""
    return [f"{name}={value}" for name, value in (labels or {}).items()]


def batch_options(
    id_: str | None,
    *,
    labels: Mapping[str, str] | None,
    priority: str | None,
    weight: int | None,
    max_cost: Decimal | str | None,
    on_error: str | None,
    paused: bool,
    pilot: int | None,
    callback_url: str | None,
) -> Query:
    """Write the options of an upload for its query."""
    return query(
        id=id_,
        on_error=on_error,
        label=label_params(labels),
        priority=priority,
        weight=weight,
        max_cost=None if max_cost is None else str(max_cost),
        paused="true" if paused else None,
        pilot=pilot,
        callback_url=callback_url,
    )


def to_iso(value: datetime | None) -> str | None:
    """Write a time in ISO 8601. A time without a time zone is in this machine's."""
    if value is None:
        return None
    return (value if value.tzinfo else value.astimezone()).isoformat()


def query(**params: "str | int | float | Sequence[str] | None") -> Query:
    """Return the parameters that have a value."""
    return {name: value for name, value in params.items() if value is not None and value != []}


def setting(name: str, given: str | None, environ: Mapping[str, str]) -> str:
    """Return a setting: as given, or from the environment. Raises UsageError."""
    value = given if given is not None else environ.get(name, "")
    if not value.strip():
        raise UsageError(f"{name} is not set. Set it in the environment, or pass it to the client.")
    return value
