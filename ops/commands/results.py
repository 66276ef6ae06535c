"""`boomerang-server results`: what is in the result store."""

import getpass
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import click

from jobs.blobs.bucket import Bucket
from jobs.results.manifest import write_manifest
from jobs.results.results import open_results
from jobs.results.retention import Expired, Selection, find_expired, remove
from jobs.store.store import Store
from ops.commands.audited import record
from ops.commands.durations import parse_duration
from ops.commands.help_text import examples
from ops.commands.store import Commands, open_store
from ops.commands.terminal import echo

#: Jobs that a dry run lists.
_LISTED = 20
_MEGABYTE = 1_000_000


@click.group("results", cls=Commands, short_help="Remove saved results, and write manifests.")
def results() -> None:
    """Remove saved results, and write manifests (BOOMERANG_RESULT_STORE)."""


def _labels(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> Mapping[str, str]:
    pairs = [each.partition("=") for each in given]
    if bad := [name for name, mark, _ in pairs if not mark or not name]:
        raise click.BadParameter(f"{bad[0]!r} is no label. Write name=value.")
    return {name: value for name, _, value in pairs}


@results.command(
    "prune",
    short_help="Remove saved results by age and label.",
    epilog=examples(
        "boomerang-server results prune --older-than 30d",
        "boomerang-server results prune --older-than 30d --label customer=acme --yes",
    ),
)
@click.option(
    "--older-than",
    type=parse_duration,
    required=True,
    metavar="DURATION",
    help="Remove only results that were saved longer ago than this, such as 30d.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_labels,
    help="Remove only results of jobs with this label, or of a batch with it. Give it several times for all of them.",
)
@click.option("--yes", is_flag=True, help="Remove them. Without it nothing is changed.")
@click.option("--dry-run", is_flag=True, help="Only list what would be removed: the default.")
@click.option(
    "--by", default=getpass.getuser, metavar="NAME", help="Who removes them, for the log.  [default: the current user]"
)
def prune(*, older_than: float, labels: Mapping[str, str], yes: bool, dry_run: bool, by: str) -> None:
    """Remove saved results by age and label, in the store and in the records of their jobs.

    Sidecars stay, with the time of the removal. What is removed cannot be brought back: the provider has most probably
    deleted it, and it would have to be paid for again.

    Exit code 0: everything is removed, or listed; 2: the command could not run.
    """
    if yes and dry_run:
        raise click.UsageError("Give either --yes or --dry-run.")
    now = datetime.now(UTC)
    selection = Selection(now - timedelta(seconds=older_than), labels)
    with open_store() as store:
        bucket = result_store_of(store)
        jobs = objects = size = 0
        batches: set[str] = set()
        for expired in find_expired(bucket, selection):
            if yes and not remove(bucket, expired, now, by, store.saves.removed):
                continue
            jobs, objects, size = jobs + 1, objects + len(expired.names), size + expired.size
            if yes:
                if expired.batch and expired.batch not in batches:
                    batches.add(expired.batch)
                    store.manifests.note(expired.batch)
            elif jobs <= _LISTED:
                echo(_line(expired))
        if jobs and yes:
            wanted = ",".join(f"{name}={value}" for name, value in labels.items())
            before = selection.saved_before.isoformat(timespec="seconds")
            record(store, "results.prune", by=by, affected=jobs, saved_before=before, labels=wanted)
    if not yes and jobs > _LISTED:
        echo(f"… and {jobs - _LISTED} more jobs")
    done = "Removed" if yes else "Would be removed"
    echo(f"{done}: {objects} objects of {jobs} jobs, {size / _MEGABYTE:,.1f} MB.")
    if not yes and jobs:
        echo("Nothing was changed: add --yes to remove them.", err=True)


@results.command(
    "manifest",
    short_help="Write the manifest of batches now.",
    epilog=examples("boomerang-server results manifest spring-catalogue@shop"),
)
@click.argument("batches", nargs=-1, required=True, metavar="BATCH...")
def manifest(*, batches: tuple[str, ...]) -> None:
    """Write the manifests of batches now, from the sidecars of their jobs.

    Workers write them, too, about a minute after a result was saved. Give the batches as this program prints them,
    with their producer: spring@shop.
    """
    with open_store() as store:
        bucket = result_store_of(store)
        for batch in batches:
            lines = write_manifest(bucket, batch)
            echo(f"{batch}: {'results still come, run it again later' if lines is None else f'{lines} jobs'}")


def result_store_of(store: Store) -> Bucket:
    """Open the result store of the settings. Ends the command if there is none."""
    url = store.context.settings.result_store
    if url is None:
        echo("BOOMERANG_RESULT_STORE is not set: results are not saved.", err=True)
        sys.exit(2)
    return open_results(url, store.saves.used_before)


def _line(expired: Expired) -> str:
    body = expired.body
    return f"{expired.job}: saved {body['saved_at']}, {len(expired.names)} objects, {expired.size:,} bytes"
