"""Complete the ids of batches in the shell, by asking the service."""

import re

import click
from click.shell_completion import CompletionItem

from boomerang_client.client import Client
from boomerang_client.errors import BoomerangError

#: Batches that are asked for, newest first. Somebody waits at the keyboard, so a slow service gives no completion.
RECENT, TIMEOUT = 100, (1.0, 2.0)
#: An id that a shell takes as one plain word. Others are not offered: the shell might run a part of one.
_TYPEABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+~-]*")


def recent_batches(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the recent batches whose ids begin with `incomplete`, or nothing when the service does not answer."""
    settings = ctx.find_root().params
    try:
        with Client(settings.get("url"), settings.get("key"), TIMEOUT, retries=0) as client:
            ids = [one.id for one in client.batches(RECENT) if one.id.startswith(incomplete)]
            return [CompletionItem(id_) for id_ in ids if _TYPEABLE.fullmatch(id_)]
    except BoomerangError:
        return []
