"""`boomerang-server simulate`, also where the simulator is not installed: the service's image is without it."""

import importlib
import importlib.util
from typing import Any, cast

import click

from ops.commands import extras


def find(module: str = "ops.simulator") -> click.Command:
    """The command; without the simulator one that says where to get it, whatever its options."""
    if importlib.util.find_spec(module):
        return cast("click.Command", importlib.import_module(f"{module}.main").simulate)
    return click.Command(
        "simulate",
        callback=_refuse,
        params=[click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)],
        context_settings={"ignore_unknown_options": True},
        help="Not installed here: the generation API as a process of its own.",
        options_metavar="",
    )


def _refuse(**_: Any) -> None:
    raise extras.ExtraMissing(
        "boomerang-server simulate is not installed here. The image `boomerang-simulator` has it: "
        f"docker compose --profile simulator up. In a checkout of Boomerang, run: {extras.INSTALL['simulator']}"
    )
