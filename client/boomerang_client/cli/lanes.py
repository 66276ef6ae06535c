"""`boomerang lanes`."""

import click

from boomerang_client.cli.options import examples, json_option
from boomerang_client.cli.render import LANE_COLUMNS, trouble_text
from boomerang_client.cli.screen import Screen
from boomerang_client.cli.tables import print_table


@click.command(
    short_help="Show the provider's accounts and their state.",
    epilog=examples("boomerang lanes", "boomerang lanes --json | jq -r 'select(.held) | .name'"),
)
@json_option
@click.pass_obj
def lanes(screen: Screen) -> None:
    """Show the provider's accounts: how busy each is, and whether and why it is paused.

    \b
    in progress  images that the provider may be generating, of at most
    waiting      jobs that wait for this lane
    spent        US dollars (shown to administrators)
    state        healthy, or paused with the reason

    If the service as a whole is stalled, a line on stderr says why and what to do.

    In a pipe: one line each, with tabs between lane, state, in progress, limit, waiting, spent and reason.
    """  # noqa: D301 -- click keeps the lines of a block that begins with a backspace, written as \b
    found = screen.client().overview()
    for trouble in found.troubles:
        screen.message(trouble_text(trouble), "red")
    if screen.as_json:
        for lane in found.lanes:
            screen.result_json(lane.raw)
        return
    print_table(screen, LANE_COLUMNS, found.lanes, "The service has no lanes.")
