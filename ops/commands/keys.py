"""`boomerang-server keys`: producers' keys, made and revoked while the service runs."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from jobs.api_keys import PRODUCER, AccessKey, KeyRing, Scope, checked_name
from jobs.errors import KeyNotFound
from jobs.logs import to_stderr
from ops.commands.store import opened
from ops.commands.table import show_table
from webhook.access.audit_log import write


@click.group("keys")
def keys() -> None:
    """Make, list and revoke producers' keys (BOOMERANG_REDIS_URL). No process has to start anew for it."""
    to_stderr()


@keys.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    help="What it may do, as often as needed.  [default: enqueue, read, cancel]",
)
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="Days after which it is good for nothing.")
def add(name: str, scopes: tuple[str, ...], days: float | None) -> None:
    """Make a key for the producer NAME, whose jobs it makes and shows. Its secret is shown now and never again."""
    try:
        checked_name(name)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from None
    with ring() as kept:
        lasts = timedelta(days=days) if days else None
        key, secret = kept.add(name, [*map(Scope, scopes)] or PRODUCER, lasts=lasts)
    _audited("keys.add", key)
    # Alone on standard output, so that it can go on into a secret store without being seen.
    click.echo(secret)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a key, for machines.")
def list_(*, as_json: bool) -> None:
    """List the keys, oldest first, revoked and expired ones too. Those of the environment are not among them."""
    with ring() as kept:
        found = kept.all()
    if as_json:
        for key in found:
            click.echo(json.dumps(_shown(key)))
        return
    rows = []
    for key in found:
        shown = {name: str(value or "") for name, value in _shown(key).items()}
        rows.append(
            (key.id, key.name, ", ".join(sorted(key.scopes)), shown["created_at"], shown["used_at"], _state(key))
        )
    show_table(("id", "name", "scopes", "created", "last used", "state"), rows)


@keys.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
def revoke(ids: tuple[str, ...]) -> None:
    """Revoke keys by their ids: within a second they open nothing any more, at no process."""
    with ring() as kept:
        for key_id in ids:
            try:
                key = kept.revoke(key_id)
            except KeyNotFound as error:
                raise click.ClickException(str(error)) from None
            _audited("keys.revoke", key)


@contextmanager
def ring() -> Iterator[KeyRing]:
    """The keys of the service that the environment names."""
    with opened() as store:
        yield KeyRing(store.context.client, store.context.keys)


def _audited(operation: str, key: AccessKey) -> None:
    """As the webhook's audit log (webhook.access.audit_log), on standard error; the uid says who ran the command."""
    scopes = ",".join(sorted(key.scopes))
    write(operation=operation, key=key.id, producer=key.name, scopes=scopes, state=_state(key), uid=os.getuid())


def _shown(key: AccessKey) -> dict[str, Any]:
    times = {"created_at": key.created_at, "expires_at": key.expires_at, "revoked_at": key.revoked_at}
    told = {name: _told(moment) for name, moment in {**times, "used_at": key.used_at}.items()}
    return {"id": key.id, "name": key.name, "scopes": sorted(key.scopes), **told}


def _told(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None


def _state(key: AccessKey) -> str:
    if key.revoked_at:
        return f"revoked {_told(key.revoked_at)}"
    if key.expires_at and not key.opens(datetime.now(UTC)):
        return f"expired {_told(key.expires_at)}"
    return f"good until {_told(key.expires_at)}" if key.expires_at else "good"
