"""What two packages must agree on that may not import each other, and where text leaves."""

import re
from pathlib import Path

from jobs import key_limits, timeline
from jobs.job import Priority
from jobs.read_models import Progress
from jobs.results import thumbnails
from jobs.states import State
from jobs.task_names import DELIVER, GENERATE, RECONCILE, SUBMIT
from schemas.queries.batches import BATCH_STATES, MOST_WEIGHT
from schemas.queries.jobs import THUMBNAIL_SIZES
from schemas.requests.base import PRIORITIES
from schemas.states import JOB_EVENTS, JOB_STATES
from worker.app import create_app
from worker.settings import Settings


def test_the_api_shows_the_states_that_jobs_have() -> None:
    assert tuple(State) == JOB_STATES
    assert timeline.NAMES == JOB_EVENTS


def test_the_api_shows_what_batches_and_jobs_may_be() -> None:
    assert tuple(Progress) == BATCH_STATES
    assert tuple(Priority) == PRIORITIES
    assert key_limits.MOST_WEIGHT == MOST_WEIGHT
    assert thumbnails.SIZES == THUMBNAIL_SIZES


def test_the_worker_has_the_tasks_that_are_sent_to() -> None:
    assert {GENERATE, SUBMIT, RECONCILE, DELIVER} <= set(create_app(Settings()).tasks)


ROOT = Path(__file__).parents[1]
#: The modules that write to a terminal or a standard stream, each of which escapes text from outside.
SINKS = {
    "client/boomerang_client/cli/plain_output.py", "client/boomerang_client/progress_line.py",
    "client/boomerang_client/safe_console.py", "jobs/logs.py", "ops/commands/table.py", "ops/commands/terminal.py",
    "ops/local/console.py", "ops/simulator/logs.py", "worker/notices/apprise_process.py",
}  # fmt: skip
#: Tools of developers, which print their own figures, and a process that only replaces itself.
TOOLS = (
    "ops/bench/", "ops/compose_check/", "ops/release/", "ops/screenshots/", "ops/reference.py", "ops/local/tether.py",
)  # fmt: skip
#: Child processes: their streams are pipes, and the parent treats what it reads from them as data from outside.
PIPED = {"webhook/render_thumbnail.py"}
WRITES = re.compile(
    r"\bclick\.s?echo\(|(?m:^\s*print\()|\bstd(?:out|err)\.write\(|(?<![.\w])Console\((?!\):)|markup=True"
)


def test_only_sinks_write_to_the_terminal() -> None:
    folders = ("client/boomerang_client", "jobs", "ops", "schemas", "webhook", "worker")
    paths = [path.relative_to(ROOT).as_posix() for each in folders for path in (ROOT / each).rglob("*.py")]
    writing = {path for path in paths if not path.startswith(TOOLS) and WRITES.search((ROOT / path).read_text("utf-8"))}
    assert writing - PIPED <= SINKS
