"""`boomerang-server up` and `demo`: their options. What they do needs the extra `local`, their `--help` does not."""

from pathlib import Path

import click

from ops.commands import extras

#: One callback in ten never comes; others come twice, or before the submission's answer; answers get lost after the
#: purchase, or the gateway stumbles before it; a few tasks fail, most of them curably.
FAULTS = (
    "--latency 0.5-4 --drop-callbacks 0.1 --repeat-callbacks 0.15 --early-callbacks 0.08 "
    "--lost-answers 0.05 --error-after 0.02 --error-before 0.02 --throttle 0.02 --fail 0.04 --fail-permanent 0.02"
)


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".boomerang"),
    show_default=True,
    help="Folder of state, logs, ports and generated keys; one stack a folder.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the webhook.  [default: 8420, or any free one]")
@click.option("--no-flower", is_flag=True, help="Leave Flower out.")
@click.option("--sim", default="", metavar="OPTIONS", help='Options of the simulator, such as "--storm --seed 7".')
def up(data: Path, port: int | None, sim: str, *, no_flower: bool) -> None:
    """Run the whole service here: Redis, worker, beat, webhook, Flower, and a simulated provider.

    With BOOMERANG_PROVIDER_KEY set it is the real provider instead. Ctrl-C ends it: first the way in, then the
    workers, the state last; a second Ctrl-C does so at once. What is under way goes on at the next start.
    """
    extras.load("ops.commands.up", command="up", extra="local").run(data, port, sim, flower=not no_flower)


@click.command()
@click.option("--jobs", "count", type=click.IntRange(1, 1600), default=200, show_default=True, help="How many jobs.")
@click.option("--seed", type=int, default=7, show_default=True, help="The same seed brings the same orders and faults.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".boomerang/demo"),
    show_default=True,
    help="Folder of the pictures, results.jsonl and index.html.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the stack's state and logs, kept afterwards.  [default: a temporary one]",
)
@click.option("--sim", default=FAULTS, metavar="OPTIONS", help="Options of the simulator instead of the demo's own.")
def demo(count: int, seed: int, out: Path, data: Path | None, sim: str) -> None:
    """Run 200 real jobs through the whole service and show what came back.

    Prompts of PartiPrompts and photographs, both models, a simulated provider that drops callbacks, repeats them and
    loses answers. Exit code 1 if a promise broke: a job lost or bought twice, or a sum that differs from the ledger.
    """
    extras.load("ops.demo.run", command="demo", extra="local").run(count, seed, out, data, sim)
