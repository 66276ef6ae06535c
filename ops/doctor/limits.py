"""Check the limits that depend on how the webhook is reached, and on who its producers are."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

from jobs.api_keys import KeyRing, Scope
from jobs.errors import StoreUnavailable
from ops.commands.store import open_store
from ops.doctor.check import Finding, ok, warning
from webhook.settings import Settings

_KEPT = "BOOMERANG_KEPT_ROOM"


def check_limits(settings: Settings, env: Mapping[str, str]) -> Iterator[Finding]:
    """Check limits per address and per key. `env`: the environment, which shows what is set."""
    yield from _check_addresses(settings)
    yield from _check_names(settings)
    if not env.get(_KEPT, "").strip():
        yield from _check_kept_room(settings)


def _check_addresses(settings: Settings) -> Iterator[Finding]:
    """The webhook has no TLS, so that behind an https address there is a proxy, whose address all clients share."""
    behind_proxy = urlsplit(settings.public_url or "").scheme == "https"
    if behind_proxy and settings.max_connections and not settings.trusted_proxies:
        yield warning(
            "proxies",
            "BOOMERANG_PUBLIC_URL is https, so a proxy is in front of the webhook, but BOOMERANG_TRUSTED_PROXIES names "
            f"none: all clients share the {settings.max_connections} connections of its address",
            "Name its address or network in BOOMERANG_TRUSTED_PROXIES. Where addresses are hidden (a load balancer for "
            "TCP, a rootless container engine), set BOOMERANG_MAX_CONNECTIONS=0 and limit connections there.",
        )


def _check_names(settings: Settings) -> Iterator[Finding]:
    """Jobs belong to the name of a key. Without one it comes from the secret, and changes with it."""
    for variable, keys in (("BOOMERANG_API_KEYS", settings.api_keys), ("BOOMERANG_ADMIN_KEYS", settings.admin_keys)):
        if unnamed := sum(":" not in key for key in keys):
            yield warning(
                variable,
                f"{unnamed} of {len(keys)} keys have no name, so a new secret is another producer: it does not see the "
                "jobs of the old one, and may buy them again",
                "Write name:secret. To keep the jobs, use the present name (key- and 8 digits): GET /v1/spend?by=key "
                "shows it.",
            )


def _check_kept_room(settings: Settings) -> Iterator[Finding]:
    """With several producers, the default ends the share of the largest one below the limit of memory."""
    try:
        with open_store(settings) as store:
            memory, stored = store.statistics.memory(), store.statistics.held().stored
            made = KeyRing(store.context.client, store.context.keys).all()
    except StoreUnavailable:
        return  # reported already
    now = datetime.now(UTC)
    names = {key.name for key in settings.keys if Scope.ADMIN not in key.scopes}
    names |= {key.name for key in made if key.opens(now) and Scope.ADMIN not in key.scopes}
    limit = settings.max_memory if settings.max_memory > 1 else settings.max_memory * (memory.limit if memory else 0)
    if memory is None or not limit or len(names) < 2:  # noqa: PLR2004 - one producer may use all
        return
    share = limit * (1 - settings.kept_room * (len(names) - 1) / len(names))
    if memory.used < share:
        yield ok(_KEPT, f"not set: {settings.kept_room:.0%} of the room is kept for producers that use less")
        return
    largest = max(stored, key=lambda name: stored[name], default="")
    yield warning(
        _KEPT,
        f"is not set, and Redis uses {memory.used / limit:.0%} of the memory for jobs: the rest is kept for producers "
        f"that use less, so that the largest ({largest or 'unknown'}) gets 429",
        f"Raise maxmemory, lower BOOMERANG_RETENTION, or set {_KEPT}=0 if one producer may use all.",
    )
