"""What `boomerang enqueue` prints about an upload: its outcome, refused lines, and how to continue it."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

import click

from boomerang_client.cli.screen import INTERRUPTED, Screen, field_lines
from boomerang_client.errors import BoomerangError, LineError, ServiceUnavailable, TooBusy, UnexpectedAnswer
from boomerang_client.responses import BatchAccepted
from boomerang_client.terminal import clean, shell_word

_ARGUMENTS = f"{__name__}.arguments"


class EnqueueCommand(click.Command):
    """Keeps its arguments as they were typed, so that an error can show how to repeat the command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments of the command."""
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)


def report_upload(ctx: click.Context, screen: Screen, accepted: BatchAccepted, unit: str) -> bool:
    """Print the outcome of the upload and what to do next. Return whether something failed."""
    _report(screen, accepted, unit)
    jobs, options = accepted.accepted + accepted.known, ctx.params
    if accepted.rejected and jobs and not screen.as_json:
        screen.message(
            f"Correct the rejected {unit}s, leave the others in their places, and run: {_repeat(ctx, accepted.id)}"
        )
    if jobs and not options["wait"]:
        id_word = shell_word(accepted.id)
        approval = [f"boomerang approve {id_word}"] if options["paused"] or options["pilot"] is not None else []
        screen.next_step(f"boomerang {'show' if options['paused'] else 'watch'} {id_word}", *approval)
    return accepted.rejected > 0 or not jobs


@contextmanager
def continuable(ctx: click.Context, screen: Screen, batch: str) -> Iterator[None]:
    """Say on every error that leaves an upload half done how to continue it. `batch`: its id, if the user gave none."""
    try:
        yield
    except KeyboardInterrupt:
        if ctx.params["dry_run"] or ctx.params["prints"]:
            raise
        option = "the same --idempotency-key" if ctx.params["key"] else f"--id {batch or ctx.params['id_']}"
        screen.message(f"Stopped. To send the rest, repeat the command with {option}. Nothing is paid twice.")
        screen.message(f"To continue: {_repeat(ctx, batch)}")
        ctx.exit(INTERRUPTED)
    except (ServiceUnavailable, TooBusy, UnexpectedAnswer) as error:
        error.repeat_command = _repeat(ctx, batch)
        raise
    except BoomerangError as error:
        if error.repeat_id is not None:
            error.repeat_command = _repeat(ctx, batch)
        raise
    except Exception as error:
        if hasattr(error, "repeat_id"):
            screen.message(f"To continue: {_repeat(ctx, batch)}")
        raise


@contextmanager
def naming_lines(screen: Screen, unit: str) -> Iterator[None]:
    """Print the refused lines that an error of the upload lists."""
    try:
        yield
    except BoomerangError as error:
        report_lines(screen, error.lines, unit)
        raise


def _repeat(ctx: click.Context, batch: str) -> str:
    """Return the command that repeats this one for the same batch."""
    words = list(ctx.meta[_ARGUMENTS])
    options = ctx.params
    if options["id_"] is None and options["key"] is None:
        words = ["--id", batch, *words]
    main = ctx.find_root()
    source = main.get_parameter_source("url")
    url = ["--url", main.params["url"]] if source is click.core.ParameterSource.COMMANDLINE else []
    return shlex.join(["boomerang", *url, "enqueue", *words])


def _report(screen: Screen, accepted: BatchAccepted, unit: str) -> None:
    if screen.as_json:
        screen.result_json(accepted.view)
        return
    screen.result(
        f"Batch {clean(accepted.id)}: {accepted.accepted:,} accepted, {accepted.known:,} known before, "
        f"{accepted.rejected:,} rejected."
    )
    for note in accepted.warnings:
        screen.message(f"Note: {clean(note.message)}.", "yellow")
    report_lines(screen, accepted.errors, unit)
    if accepted.rejected > len(accepted.errors):
        screen.message(f"  and {accepted.rejected - len(accepted.errors):,} more")


def report_lines(screen: Screen, lines: tuple[LineError, ...], unit: str) -> None:
    """Print refused lines on stderr, each with its fields."""
    for error in () if screen.as_json else lines:
        for line in field_lines(error.errors, error.codes):
            screen.message(f"  {unit} {error.line}: {line}")
