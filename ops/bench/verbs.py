"""Measure what a job costs Redis, by its verbs alone: `python ops/bench/verbs.py JOBS ROUNDS`.

Enqueue, admit, claim, submit, callback and notification, without processes or network in between. Prints for each round
the commands, CPU time and bytes of Redis per job. With PYTHONPATH it runs the code of another tree, so it uses only
what older commits have, too; compare the lowest times of several rounds.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from jobs.connections.client import connect
from jobs.job import Delivery, Result
from jobs.new_job import NewJob
from jobs.states import State
from jobs.store.store import Store
from ops.bench.harness import open_store
from ops.local.redis_server import running

GROUP = 500
#: Jobs that a worker claims and records at once.
CLAIMED = 20
#: µs of the main thread, which alone runs commands.
_CPU = ("used_cpu_user_main_thread", "used_cpu_sys_main_thread")
_TEXT = '{"model":"kirin_image_omni","params":{"prompt":"a fox"}}'
_RESULT = Result(output=({"type": "image", "url": "https://cdn.example.com/1.png"},))


def _measured(client: Any) -> tuple[int, float, int]:
    calls = sum(each["calls"] for each in client.info("commandstats").values())
    cpu = client.info("cpu")
    return calls, sum(float(cpu[name]) for name in _CPU) * 1e6, int(client.info("memory")["used_memory"])


def run(store: Store, name: str, count: int) -> None:
    """Take `count` jobs through their lives."""
    for start in range(0, count, GROUP):
        jobs = [
            NewJob(id=f"{name}.{number}", text=_TEXT, model="kirin_image_omni", owed=frozenset({Delivery.NOTIFY}))
            for number in range(start, min(count, start + GROUP))
        ]
        store.jobs.enqueue(jobs, batch=name)
    while ids := store.attempts.admit(CLAIMED).ids:
        claims = store.attempts.claim(ids)
        store.attempts.mark_many_in_progress([(each.id, each.fence, f"0123456789ab{each.id}") for each in claims])
        for each in claims:
            store.attempts.finish(each.external_task_id, State.COMPLETED, _RESULT, "callback")
        for due in store.deliveries.claim([each.id for each in claims]):
            store.deliveries.record(due, Delivery.NOTIFY)


def main(jobs: int, rounds: int) -> None:
    """Print a line for each round."""
    with tempfile.TemporaryDirectory(prefix="boomerang-bench-") as folder, running(Path(folder)) as server:
        client = connect(server.url)
        with open_store(server.url) as store:
            run(store, "warm-up", GROUP)
            for number in range(rounds):
                before = _measured(client)
                run(store, f"round-{number}", jobs)
                commands, cpu, size = (
                    (after - was) / jobs for was, after in zip(before, _measured(client), strict=True)
                )
                record = client.memory_usage(f"{{b}}:j:round-{number}.{jobs // 2}")
                sys.stdout.write(
                    f"{commands:.2f} commands, {cpu:.1f} µs, {size:.0f} bytes per job; a record: {record} bytes\n"
                )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
