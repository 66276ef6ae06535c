"""The command's root: global options, exit codes, the list of commands."""

from typing import Any

import click

from boomerang_client.cli import changes, completion, enqueue, listing, results, spend, top, watch
from boomerang_client.cli.screen import FAILED, INTERRUPTED, UNREACHABLE, USAGE, Screen, json_option
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

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BoomerangError as error:
            ctx.ensure_object(Screen).failure(error)
            ctx.exit(exit_code(error))
        except KeyboardInterrupt:
            ctx.ensure_object(Screen).tell("Stopped.")
            ctx.exit(INTERRUPTED)


def exit_code(error: BoomerangError) -> int:
    """The exit code for an error, as the help of `boomerang` lists them."""
    if isinstance(error, UsageError):
        return USAGE
    if isinstance(error, ServiceUnavailable | Unauthorized | TooBusy | UnexpectedAnswer):
        return UNREACHABLE
    return FAILED


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--url", envvar="BOOMERANG_URL", show_envvar=True, help="Where the service is.")
@click.option("--key", envvar="BOOMERANG_KEY", show_envvar=True, help="Your key; on a command line others can see it.")
@json_option
@click.version_option(package_name="boomerang-client")
@click.pass_context
def main(ctx: click.Context, url: str | None, key: str | None) -> None:
    """Enqueue generation jobs at a Boomerang service, watch them, fetch their results.

    \b
    Exit codes:
      0    all well
      1    something failed: lines were rejected, jobs ended without a
           result, a request was refused
      2    wrong usage or settings
      3    the service is unreachable or too busy, or refuses the key
      130  stopped by Ctrl-C (the jobs go on)
    """  # noqa: D301 -- click's mark for lines to keep is a backspace, written as \b
    screen = ctx.ensure_object(Screen)
    screen.url, screen.key = url, key


for command in (
    enqueue.enqueue,
    watch.watch,
    results.results,
    results.save,
    listing.show,
    listing.list_,
    listing.cancel,
    listing.retry,
    changes.pause,
    changes.resume,
    spend.spend,
    top.top,
    completion.completion,
):
    main.add_command(command)
