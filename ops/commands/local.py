"""The options of `boomerang-server up` and `demo`. Running them needs the extra `local`; their help does not."""

from pathlib import Path

import click

from ops.commands import extras
from ops.commands.help_text import examples

#: The demo's faults: callbacks are lost, repeated or early; responses to submissions are lost; the gateway returns
#: errors; a few tasks fail, most of them with an error that another attempt can cure.
FAULTS = (
    "--latency 0.5-4 --drop-callbacks 0.1 --repeat-callbacks 0.15 --early-callbacks 0.08 "
    "--lost-answers 0.05 --error-after 0.02 --error-before 0.02 --throttle 0.02 --fail 0.04 --fail-permanent 0.02 "
    "--expire-images 120"
)


@click.command(
    epilog=examples(
        "boomerang-server up", 'boomerang-server up --data /srv/boomerang --port 8000 --sim "--latency 5-20"'
    )
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".boomerang"),
    show_default=True,
    metavar="DIR",
    help="Folder for jobs, logs, ports and generated keys. One stack can run per folder.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Port of the service.  [default: 8420 if it is free, else any free port]",
)
@click.option("--no-flower", is_flag=True, help="Do not start Flower.")
@click.option(
    "--sim",
    default="",
    metavar="OPTIONS",
    help='Options of the simulated provider, such as "--storm --seed 7". See boomerang-server simulate --help.',
)
def up(data: Path, port: int | None, sim: str, *, no_flower: bool) -> None:
    """Run the whole service on this machine.

    It starts Redis, a worker, beat, the webhook, Flower and a simulated provider, which costs nothing. If
    BOOMERANG_PROVIDER_KEY is set, the service uses the real provider instead, and jobs cost money.

    Ctrl-C stops all processes in order; a second Ctrl-C kills them. Unfinished jobs continue at the next start.
    """
    extras.load("ops.commands.up", command="up", extra="local").run(data, port, sim, flower=not no_flower)


@click.command(
    epilog=examples("boomerang-server demo", 'boomerang-server demo --jobs 20 --sim "--storm" --out /tmp/demo')
)
@click.option(
    "--jobs",
    "count",
    type=click.IntRange(1, 1600),
    default=200,
    metavar="COUNT",
    show_default=True,
    help="Number of jobs, up to 1600.",
)
@click.option(
    "--seed",
    type=int,
    default=7,
    metavar="NUMBER",
    show_default=True,
    help="The same seed gives the same jobs and the same faults.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".boomerang/demo"),
    show_default=True,
    metavar="DIR",
    help="Folder for the images, results.jsonl and index.html. Each run gets a folder of its own in it.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder for the jobs and logs of the stack, kept afterwards.  [default: a temporary folder]",
)
@click.option(
    "--sim",
    default=FAULTS,
    metavar="OPTIONS",
    help="Options of the simulated provider. They replace the faults of the demo.",
)
@click.option("--stay", is_flag=True, help="Keep the service running afterwards, until Ctrl-C, and print its address.")
def demo(count: int, seed: int, out: Path, data: Path | None, sim: str, *, stay: bool) -> None:
    """Run 200 jobs through the whole service and show the results.

    The jobs use prompts of PartiPrompts, photographs and both models. The simulated provider loses and repeats
    callbacks, loses answers and fails, and deletes its images. At the end the costs are compared with the provider's
    ledger, and all images come from the result store.

    Exit code 0: no job was lost or paid for twice, the costs match the ledger, and no image is missing; 1: otherwise.
    """
    extras.load("ops.demo.run", command="demo", extra="local").run(count, seed, out, data, sim, stay=stay)
