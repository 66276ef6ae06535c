"""`python -m ops.bench.compare COMMIT`: what a job of the whole path costs in an older commit, and in this tree.

Both run in turn, so that other load on the machine affects them alike. CPU time says more than the rate on a machine
that is used otherwise, and counts of Redis commands do not depend on load. Both use this environment's packages.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

TREE = Path(__file__).resolve().parents[2]
PROBE = Path(__file__).with_name("probe.py")
CPU, SWITCHES = "CPU µs", "context switches"
#: Processes that a job occupies, in the order of the table.
PROCESSES = ("webhook", "worker", "redis", "broker", "beat", "simulator")


@dataclass
class Measured:
    """What `ops.bench.probe` printed about one tree, over all rounds."""

    starts: list[dict[str, Any]] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    costs: list[dict[str, dict[str, float]]] = field(default_factory=list)

    def add(self, lines: str) -> None:
        """Add the output of one probe."""
        for line in map(json.loads, lines.splitlines()):
            if "start" in line:
                self.starts.append(line["start"])
            else:
                self.rates.append(line["rate"])
                self.costs.append(line["costs"])

    def start(self) -> list[float]:
        """Return the seconds of CPU time of each start of the stack."""
        return [sum(costs.get(CPU, 0) for costs in start.values()) / 1e6 for start in self.starts]

    def of(self, name: str, what: str) -> list[float]:
        """Return one cost of a process per job, of each run."""
        return [run.get(name, {}).get(what, 0) for run in self.costs]

    def cpu(self) -> list[float]:
        """Return the CPU µs of all processes per job, of each run."""
        return [sum(costs.get(CPU, 0) for costs in run.values()) for run in self.costs]

    def commands(self, name: str) -> list[float]:
        """Return the Redis commands per job, those from scripts included, of each run."""
        return [sum(run.get(f"{name} commands", {}).values()) for run in self.costs]

    def command_names(self, name: str) -> set[str]:
        """Return the commands that a server has run."""
        return {command for run in self.costs for command in run.get(f"{name} commands", {})}


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """Check the commit out into a temporary folder."""
    git = ("git", "-C", str(TREE), "worktree")
    with tempfile.TemporaryDirectory(prefix="boomerang-compare-") as folder:
        tree = Path(folder) / "base"
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=True)  # noqa: S603 - our command
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)  # noqa: S603 - our own command


def probe(tree: Path, jobs: int, runs: int) -> str:
    """Run the probe with the code of that tree, and return its output."""
    # Modules are compiled once, not at each start.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPATH"] = f"{tree}{os.pathsep}{tree / 'client'}"
    argv = (sys.executable, str(PROBE), str(jobs), str(runs))
    return subprocess.run(argv, cwd=tree, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603 - our own command


def _row(table: Table, what: str, base: Sequence[float], here: Sequence[float], form: str = ",.0f") -> None:
    best = min(here) / min(base) if min(base) else 0.0
    middle = statistics.median(here) / statistics.median(base) if statistics.median(base) else 0.0
    figures = (f"{min(values):{form}} / {statistics.median(values):{form}}" for values in (base, here))
    table.add_row(what, *figures, f"{best:.2f} / {middle:.2f}")


def report(base: Measured, here: Measured) -> Table:
    """Return the table of both."""
    table = Table("per job: minimum / median", "base", "this tree", "this tree ÷ base")
    _row(table, "jobs/s", base.rates, here.rates)
    _row(table, "CPU µs, all processes", base.cpu(), here.cpu())
    for name in PROCESSES:
        _row(table, f"CPU µs, {name}", base.of(name, CPU), here.of(name, CPU))
    for name in ("webhook", "worker", "redis"):
        _row(table, f"{SWITCHES}, {name}", base.of(name, SWITCHES), here.of(name, SWITCHES), ",.1f")
    for name in ("redis", "broker"):
        _row(table, f"commands, {name}", base.commands(name), here.commands(name), ",.1f")
        for what in ("bytes in", "bytes out", "AOF bytes"):
            _row(table, f"{what}, {name}", base.of(name, what), here.of(name, what))
    _row(table, "CPU s of the start", base.start(), here.start(), ",.2f")
    return table


def changed_commands(base: Measured, here: Measured, least: float = 0.05) -> Iterator[str]:
    """Yield one line for each command of the jobs' Redis whose number per job differs."""
    for command in sorted(base.command_names("redis") | here.command_names("redis")):
        before, after = (statistics.median(each.of("redis commands", command)) for each in (base, here))
        if abs(after - before) >= least:
            yield f"{command}: {before:.2f} → {after:.2f}"


@click.command()
@click.argument("commit")
@click.option("--jobs", default=2000, show_default=True, help="Number of jobs of each run.")
@click.option("--runs", default=2, show_default=True, help="Runs of each start of the stack.")
@click.option("--rounds", default=3, show_default=True, help="Starts of the stack of each tree, in turn.")
def main(commit: str, jobs: int, runs: int, rounds: int) -> None:
    """Compare what a job of the whole path costs in COMMIT and in this tree."""
    if not commit:
        raise click.UsageError("Name the commit to compare with: make bench-compare BASE=<commit>.")
    console = Console()
    base, here = Measured(), Measured()
    with checked_out(commit) as tree:
        for turn in range(rounds):
            console.print(f"round {turn + 1} of {rounds} …", style="dim")
            # Not the same one first each time: what runs second has a warmer machine.
            for measured, code in ((base, tree), (here, TREE))[:: 1 if turn % 2 == 0 else -1]:
                measured.add(probe(code, jobs, runs))
    console.print(report(base, here))
    for line in changed_commands(base, here):
        console.print(f"Redis commands per job, {line}")


if __name__ == "__main__":
    main()
