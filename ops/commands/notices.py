"""`boomerang-server test-notice`: send an example of a notice to people, and say what happened."""

import os

import click

from jobs.notices import NoticeClass
from ops.commands.help_text import examples
from ops.commands.store import PROBLEMS
from ops.commands.terminal import echo
from worker.notices.message import example
from worker.notices.send import NoticeFailed, send
from worker.settings import Settings


@click.command(
    "test-notice",
    short_help="Send an example of a notice to people.",
    epilog=examples("boomerang-server test-notice batch_done"),
)
@click.argument("about", metavar="CLASS", type=click.Choice([each.value for each in NoticeClass]))
@click.pass_context
def test_notice(context: click.Context, about: str) -> None:
    """Send an example to each target that BOOMERANG_NOTICES has for this class, and say what happened.

    CLASS is batch_done, batch_paused, batch_waits, batch_forgotten, cap_reached, provider_away or receiver_disabled.
    Redis is not needed.

    Exit code 0: all targets accepted it; 1: some did not; 2: there is no target, or BOOMERANG_NOTICES is not valid.
    """
    settings, notice_class = Settings.from_env(os.environ), NoticeClass(about)
    targets = settings.notices.get(notice_class, ())
    if not targets:
        raise click.UsageError(f"BOOMERANG_NOTICES has no target for {about}.")
    failed = 0
    for target in targets:
        try:
            send(target, example(notice_class, settings.public_url))
            echo(f"{target.label}: accepted")
        except NoticeFailed as error:
            failed += 1
            echo(f"{target.label}: failed: {error}")
    context.exit(PROBLEMS if failed else 0)
