"""Measure what a job of the whole path costs each process, and print it as JSON: `python ops/bench/probe.py JOBS RUNS`.

`ops.bench.compare` runs this file with the code of two commits, so it uses only what older commits have, too.
"""

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import redis

from ops.bench.harness import stack
from ops.bench.rates import whole_path

#: Clock ticks of /proc/<pid>/stat, per second.
_TICKS = os.sysconf("SC_CLK_TCK")
#: Position of `utime` after the command's name, which may contain spaces; `stime` follows.
_UTIME = 11
#: Commands that no job causes.
_OTHER = {"info", "ping", "hello", "client|setinfo", "client|setname", "auth", "select"}

Costs = Counter[tuple[str, str]]
#: What is counted of a process.
CPU = "CPU µs"


def _tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()
    return [pid, *(each for child in children for each in _tree(int(child)))]


def process_costs(pids: Mapping[str, int]) -> Costs:
    """Return what each process and its children have used: µs of CPU time, and context switches."""
    found: Costs = Counter()
    for name, root in pids.items():
        for pid in _tree(root):
            fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
            ticks = int(fields[_UTIME]) + int(fields[_UTIME + 1])
            found[name, CPU] += round(ticks / _TICKS * 1e6)
            for thread in Path(f"/proc/{pid}/task").iterdir():
                for line in (thread / "status").read_text("utf-8").splitlines():
                    if line.startswith("voluntary_ctxt_switches"):
                        found[name, "context switches"] += int(line.split()[1])
    return found


def _redis_costs(name: str, client: redis.Redis) -> Costs:
    """Return the calls of each Redis command, those from scripts included, and the bytes that it has read and sent."""
    found: Costs = Counter()
    for key, value in client.info("commandstats").items():
        command = key.removeprefix("cmdstat_")
        if command not in _OTHER:
            found[f"{name} commands", command] = value["calls"]
    stats = client.info("stats")
    found[name, "bytes in"] = stats["total_net_input_bytes"]
    found[name, "bytes out"] = stats["total_net_output_bytes"]
    persistence = client.info("persistence")
    found[name, "AOF bytes"] = persistence.get("aof_current_size", 0)
    return found


def measure(jobs: int, runs: int) -> None:
    """Print one line per run: jobs per second, and the costs per job. The first line has the costs of the start."""
    with (
        tempfile.TemporaryDirectory(prefix="boomerang-bench-") as folder,
        stack(Path(folder) / "fast", "--latency 0") as running,
    ):
        sys.stdout.write(json.dumps({"start": _nested(process_costs(running.pids()))}) + "\n")
        servers = {
            name: redis.Redis.from_url(url, decode_responses=True)
            for name, url in (("redis", running.redis_url), ("broker", running.broker_url))
        }

        def costs() -> Costs:
            found = process_costs(running.pids())
            for name, client in servers.items():
                found.update(_redis_costs(name, client))
            return found

        # The first jobs load modules and open connections.
        whole_path(running, min(jobs, 300), "warm-up")
        for run in range(runs):
            before = costs()
            rate = whole_path(running, jobs, f"run-{run}")
            spent = costs()
            spent.subtract(before)
            sys.stdout.write(json.dumps({"rate": rate, "costs": _nested(spent, jobs)}) + "\n")


def _nested(costs: Costs, jobs: int = 1) -> dict[str, dict[str, float]]:
    nested: dict[str, dict[str, float]] = {}
    for (name, what), value in sorted(costs.items()):
        if value:
            nested.setdefault(name, {})[what] = value / jobs
    return nested


if __name__ == "__main__":
    measure(int(sys.argv[1]), int(sys.argv[2]))
