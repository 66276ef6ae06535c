"""`boomerang-server simulate`, also where the simulator is not installed, as in the image of the service."""

import importlib
import importlib.util
from typing import Any, cast

import click

from ops.commands import extras


def find(module: str = "ops.simulator") -> click.Command:
    """Return the command. If the simulator is not installed, it only says how to get it, whatever its options."""
    if importlib.util.find_spec(module):
        return cast("click.Command", importlib.import_module(f"{module}.main").simulate)
    return click.Command(
        "simulate",
        callback=_refuse,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        context_settings={"ignore_unknown_options": True},
        help="Run a simulated provider (not installed here).",
        options_metavar="",
    )


def _refuse(**_: Any) -> None:
    raise extras.ExtraMissing(
        "boomerang-server simulate is not installed here. The image `boomerang-simulator` has it: "
        f"docker compose --profile simulator up. In a checkout of Boomerang, run: {extras.INSTALL['simulator']}"
    )
