"""`boomerang-server keys`: create, list and revoke producers' keys, and change their limits."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from jobs.api_keys import PRODUCER, AccessKey, KeyRing, Scope, checked_name
from jobs.errors import KeyNotFound
from jobs.logs import to_stderr
from jobs.store.store import Store
from ops.commands.audited import audited
from ops.commands.help_text import examples
from ops.commands.limits import key_limits
from ops.commands.store import open_store
from ops.commands.table import show_table
from ops.commands.terminal import echo


@click.group("keys")
def keys() -> None:
    """Create, list and revoke the keys of producers, and change their limits.

    The keys are kept in the jobs' Redis (BOOMERANG_REDIS_URL). Running webhooks notice a change within a second.
    """
    to_stderr()


@keys.command(
    epilog=examples("boomerang-server keys add shop", "boomerang-server keys add press --scope read --days 90")
)
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    help="What the key may do. Repeat the option for more than one.  [default: enqueue, read, cancel]",
)
@click.option("--days", type=click.FloatRange(min=0, min_open=True), metavar="DAYS", help="Days until the key expires.")
def add(name: str, scopes: tuple[str, ...], days: float | None) -> None:
    """Create a key for the producer NAME, and print its secret.

    The secret is printed alone on standard output, only this once. The key gives access to the jobs of that producer.
    """
    try:
        checked_name(name)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from None
    with open_key_ring() as (store, ring):
        lasts = timedelta(days=days) if days else None
        _copy_keys(store, ring)
        key, secret = ring.add(name, [*map(Scope, scopes)] or PRODUCER, lasts=lasts)
        _audited(store, "keys.add", key)
    # Alone on standard output, so that it can be piped into a secret store.
    echo(secret)
    if sys.stdout.isatty():
        echo("Save this secret now. It is not shown again.", err=True)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print each key as one JSON object per line.")
def list_(*, as_json: bool) -> None:
    """List all keys, also revoked and expired ones, the oldest first.

    Keys of BOOMERANG_API_KEYS and BOOMERANG_ADMIN_KEYS are not listed.
    """
    with open_key_ring() as (_, ring):
        found = ring.all()
    if as_json:
        for key in found:
            echo(json.dumps(_to_json(key)))
        return
    rows = []
    for key in found:
        fields = {name: str(value or "") for name, value in _to_json(key).items()}
        rows.append(
            (key.id, key.name, ", ".join(sorted(key.scopes)), fields["created_at"], fields["used_at"], _state(key))
        )
    show_table(("id", "name", "scopes", "created", "last used", "state"), rows)


@keys.command(epilog=examples("boomerang-server keys revoke 1ca413871420"))
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
def revoke(ids: tuple[str, ...]) -> None:
    """Revoke the keys with these ids. Within a second every webhook refuses them."""
    with open_key_ring() as (store, ring):
        _copy_keys(store, ring)
        for key_id in ids:
            try:
                key = ring.revoke(key_id)
            except KeyNotFound as error:
                raise click.ClickException(str(error)) from None
            _audited(store, "keys.revoke", key)


@keys.command(epilog=examples("boomerang-server keys migrate", "boomerang-server keys migrate --remove"))
@click.option(
    "--remove",
    is_flag=True,
    help="Also delete the keys where the version before reads them. Do this when none of its webhooks runs any more.",
)
def migrate(*, remove: bool) -> None:
    """Copy the keys of the version before to where only the operator's user may write.

    Until then they are valid without the scope `admin`. Look at what is copied: before, an attacker in the webhook or
    in a worker could add keys. `keys add`, `keys revoke` and `up` copy them, too, but only this command copies the
    scope `admin`. Repeat it as often as you like.
    """
    with open_key_ring() as (store, ring):
        copied = _copy_keys(store, ring, confirmed=True)
        if remove:
            ring.remove_before()
    echo(f"Keys copied: {copied}.", err=True)


keys.add_command(key_limits)


def _copy_keys(store: Store, ring: KeyRing, *, confirmed: bool = False) -> int:
    """Copy the keys of the version before, print each of them to standard error, and return their number."""
    ids = frozenset(ring.migrate(confirmed=confirmed))
    for key in ring.all() if ids else ():
        if key.id in ids:
            _audited(store, "keys.migrate", key)
    if ids and not confirmed:
        echo(
            "These keys of the version before were copied, without the scope `admin`. Revoke those that you do not "
            "know. `boomerang-server keys migrate` copies the scope, too.",
            err=True,
        )
    return len(ids)


@contextmanager
def open_key_ring() -> Iterator[tuple[Store, KeyRing]]:
    """Open the store and the keys of the service that the environment configures."""
    with open_store() as store:
        yield store, KeyRing(store.context.client, store.context.keys)


def _audited(store: Store, operation: str, key: AccessKey) -> None:
    audited(store, operation, key=key.id, producer=key.name, scopes=",".join(sorted(key.scopes)), state=_state(key))


def _to_json(key: AccessKey) -> dict[str, Any]:
    times = {"created_at": key.created_at, "expires_at": key.expires_at, "revoked_at": key.revoked_at}
    written = {name: _iso(moment) for name, moment in {**times, "used_at": key.used_at}.items()}
    return {"id": key.id, "name": key.name, "scopes": sorted(key.scopes), **written}


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None


def _state(key: AccessKey) -> str:
    if key.revoked_at:
        return f"revoked {_iso(key.revoked_at)}"
    if key.expires_at and not key.opens(datetime.now(UTC)):
        return f"expired {_iso(key.expires_at)}"
    return f"valid until {_iso(key.expires_at)}" if key.expires_at else "valid"
