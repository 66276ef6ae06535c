"""The command `boomerang`: global options, exit codes, and the list of commands."""

from typing import Any

import click

from boomerang_client import __version__
from boomerang_client.cli import (
    audit_trail,
    bulk,
    changes,
    completion,
    deliveries,
    enqueue,
    generate,
    lanes,
    listen,
    listing,
    results,
    spend,
    top,
    watch,
)
from boomerang_client.cli.options import examples, json_option
from boomerang_client.cli.plain_output import print_tracebacks_safely, safe_errors
from boomerang_client.cli.screen import FAILED, INTERRUPTED, UNREACHABLE, USAGE, Screen
from boomerang_client.errors import (
    BoomerangError,
    ServiceUnavailable,
    TooBusy,
    Unauthorized,
    UnexpectedAnswer,
    UsageError,
)


class Commands(click.Group):
    """Turns the client's errors into messages and exit codes."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the options."""
        print_tracebacks_safely()
        with safe_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            with safe_errors():
                return super().invoke(ctx)
        except BoomerangError as error:
            ctx.ensure_object(Screen).report_error(error)
            ctx.exit(exit_code(error))
        except KeyboardInterrupt:
            ctx.ensure_object(Screen).message("Stopped.")
            ctx.exit(INTERRUPTED)


def exit_code(error: BoomerangError) -> int:
    """Return the exit code for an error, as the help of `boomerang` lists them."""
    if isinstance(error, UsageError):
        return USAGE
    if isinstance(error, ServiceUnavailable | Unauthorized | TooBusy | UnexpectedAnswer):
        return UNREACHABLE
    return FAILED


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        'boomerang generate "A red boat in the fog" -o images',
        "boomerang enqueue jobs.jsonl --id boats --wait",
        "boomerang save boats -o images",
    ),
)
@click.option("--url", envvar="BOOMERANG_URL", show_envvar=True, metavar="URL", help="The address of the service.")
@click.option(
    "--key", envvar="BOOMERANG_KEY", show_envvar=True, metavar="KEY", help="Your key. Other users see command lines."
)
@json_option
@click.version_option(__version__)
@click.pass_context
def main(ctx: click.Context, url: str | None, key: str | None) -> None:
    """Enqueue generation jobs at a Boomerang service, watch them, and fetch their results.

    \b
    Exit codes:
      0    success
      1    something failed: lines were rejected, jobs ended without a
           result, a request was refused
      2    wrong usage or settings
      3    the service is unreachable or too busy, or refuses the key
      130  stopped by Ctrl-C (the jobs continue)
    """  # noqa: D301 -- click keeps the lines of a block that begins with a backspace, written as \b
    screen = ctx.ensure_object(Screen)
    screen.url, screen.key = url, key


for command in (
    generate.generate,
    enqueue.enqueue,
    watch.watch,
    results.results,
    results.save,
    listing.show,
    listing.list_,
    changes.cancel,
    changes.retry,
    changes.pause,
    changes.resume,
    bulk.bulk,
    deliveries.deliveries,
    deliveries.replay,
    deliveries.receivers,
    listen.listen,
    changes.approve,
    lanes.lanes,
    spend.spend,
    audit_trail.audit_trail,
    top.top,
    completion.completion,
):
    main.add_command(command)
