import os
import signal
import stat
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ops.local import child as child_module
from ops.local.child import ChildSpec
from ops.local.supervisor import StartFailed, Supervisor

pytestmark = pytest.mark.stack

Wait = Callable[..., None]

LISTENS = """
    import pathlib, signal, sys, time
    def end(*_):
        with open("ended", "a") as file:
            file.write(sys.argv[1] + "\\n")
        sys.exit(0)
    signal.signal(signal.SIGTERM, end)
    pathlib.Path(sys.argv[1] + ".up").write_text("up")
    while True:
        time.sleep(60)
"""
#: After SIGTERM it waits until another one has got SIGTERM, too.
ENDS_WITH_OTHERS = """
    import pathlib, signal, sys, time
    def end(*_):
        pathlib.Path(sys.argv[1] + ".term").touch()
        while len(list(pathlib.Path().glob("*.term"))) < 2:
            time.sleep(0.01)
        sys.exit(0)
    signal.signal(signal.SIGTERM, end)
    pathlib.Path(sys.argv[1] + ".up").write_text("up")
    while True:
        time.sleep(60)
"""
DEAF = """
    import pathlib, signal, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pathlib.Path(sys.argv[1] + ".up").write_text("up")
    while True:
        time.sleep(60)
"""
HAS_A_CHILD = """
    import pathlib, subprocess, sys, time
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    pathlib.Path(sys.argv[1] + ".up").write_text(str(grandchild.pid))
    time.sleep(600)
"""


class Crew:
    """Small programs under a supervisor, with the lines that it reported."""

    def __init__(self, folder: Path) -> None:
        self.reports: list[tuple[str, str]] = []
        self.run = folder / "run"
        self.supervisor = Supervisor(folder, lambda who, what: self.reports.append((who, what)))

    def spec(self, name: str, program: str, stop_limit: float = 10.0) -> ChildSpec:
        argv = (sys.executable, "-c", textwrap.dedent(program), name)
        ready = (self.run / f"{name}.up").exists
        return ChildSpec(name=name, argv=argv, env=dict(os.environ), ready=ready, stop_limit=stop_limit)

    def up(self, *specs: ChildSpec) -> None:
        self.supervisor.start(specs, limit=20)

    def messages_of(self, name: str) -> str:
        return "\n".join(what for who, what in self.reports if who == name)


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Crew]:
    made = Crew(tmp_path)
    yield made
    made.supervisor.stop([], now=lambda: True)


def test_only_the_owner_can_read_what_children_write(crew: Crew) -> None:
    crew.up(crew.spec("one", LISTENS))
    files = [each for folder in (crew.run, crew.run.parent / "logs") for each in folder.iterdir()]
    assert files
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}


def test_a_child_that_dies_is_restarted_and_reported_once(crew: Crew, wait_for: Wait) -> None:
    # Given two children
    crew.up(crew.spec("one", LISTENS), crew.spec("two", LISTENS))
    before = crew.supervisor.pids()
    # When one is killed
    os.kill(before["one"], signal.SIGKILL)

    def back() -> bool:
        crew.supervisor.tick()
        return "one" in crew.supervisor.pids() and crew.supervisor.pids()["one"] != before["one"]

    wait_for(back)
    # Then it runs again, the other was not restarted, and one line reports it
    assert crew.supervisor.pids()["two"] == before["two"]
    assert [who for who, _ in crew.reports] == ["one"]
    assert "was killed by SIGKILL; restarting it in 0.2 s" in crew.messages_of("one")
    assert crew.supervisor.restarts == 1


def test_restarts_of_a_child_that_keeps_dying_are_delayed_longer(crew: Crew, wait_for: Wait) -> None:
    brief = """
        import pathlib, sys, time
        pathlib.Path(sys.argv[1] + ".up").touch()
        while not pathlib.Path("now").exists():
            time.sleep(0.01)
    """
    crew.up(crew.spec("brief", brief))
    (crew.run / "now").touch()

    def restarted_three_times() -> bool:
        crew.supervisor.tick()
        return crew.supervisor.restarts >= 3

    wait_for(restarted_three_times)
    pauses = [what.split(" in ")[1].split(" s ")[0] for _, what in crew.reports]
    assert pauses[:3] == ["0.2", "0.4", "0.8"]
    assert "ended with exit code 0" in crew.messages_of("brief")


def test_children_end_in_the_given_order(crew: Crew) -> None:
    crew.up(*(crew.spec(name, LISTENS) for name in ("state", "worker", "webhook")))
    crew.supervisor.stop([["webhook"], ["worker"], ["state"]])
    assert (crew.run / "ended").read_text().split() == ["webhook", "worker", "state"]
    assert crew.supervisor.pids() == {}


@pytest.mark.parametrize("order", [[["one", "two"]], []], ids=["a group", "not named"])
def test_children_of_a_group_end_together(crew: Crew, order: list[list[str]]) -> None:
    crew.up(*(crew.spec(name, ENDS_WITH_OTHERS, stop_limit=20) for name in ("one", "two")))
    crew.supervisor.stop(order)
    assert crew.reports == []


def test_a_child_that_ignores_sigterm_is_killed_and_reported(crew: Crew) -> None:
    crew.up(crew.spec("deaf", DEAF, stop_limit=0.3))
    pid = crew.supervisor.pids()["deaf"]
    crew.supervisor.stop([["deaf"]])
    assert not psutil.pid_exists(pid)
    assert "is killed" in crew.messages_of("deaf")


def test_an_immediate_stop_does_not_wait_for_children(crew: Crew) -> None:
    crew.up(crew.spec("deaf", DEAF, stop_limit=600))
    pid = crew.supervisor.pids()["deaf"]
    crew.supervisor.stop([], now=lambda: True)
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("killed", [True, False], ids=["it was killed", "it is stopped"])
def test_the_children_of_a_child_end_with_it(crew: Crew, wait_for: Wait, killed: bool) -> None:
    crew.up(crew.spec("parent", HAS_A_CHILD))
    wait_for((crew.run / "parent.up").read_text)
    grandchild = psutil.Process(int((crew.run / "parent.up").read_text()))
    if killed:
        os.kill(crew.supervisor.pids()["parent"], signal.SIGKILL)
        wait_for(lambda: crew.supervisor.tick() or crew.supervisor.restarts)
    else:
        crew.supervisor.stop([["parent"]])
    wait_for(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE)


def test_a_child_that_cannot_start_aborts_the_start_with_its_output(crew: Crew) -> None:
    with pytest.raises(StartFailed, match=r"(?s)bad ended with exit code 3 before it was ready.*the port is taken"):
        crew.up(crew.spec("bad", "import sys; print('the port is taken'); sys.exit(3)"))


def test_a_child_that_never_gets_ready_aborts_the_start(crew: Crew) -> None:
    with pytest.raises(StartFailed, match="idle was not ready within"):
        crew.supervisor.start([crew.spec("idle", "import time; time.sleep(600)")], limit=0.2)


def test_only_warnings_reach_the_console(crew: Crew, wait_for: Wait) -> None:
    talks = """
        import pathlib, sys, time
        print("[INFO] all is well")
        for number in range(5):
            print(f"\\x1b[31m[WARNING] disk {number} is filling up\\x1b[0m", flush=True)
        pathlib.Path(sys.argv[1] + ".up").touch()
        time.sleep(600)
    """
    crew.up(crew.spec("talks", talks))
    wait_for(lambda: crew.supervisor.tick() or crew.reports)
    lines = crew.messages_of("talks").splitlines()
    assert lines[0] == "[WARNING] disk 0 is filling up"
    assert lines[-1].startswith("… and 2 more lines in")
    assert "all is well" not in crew.messages_of("talks")


def test_a_log_has_a_maximum_size(crew: Crew, wait_for: Wait, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "LOG_LIMIT", 10_000)
    talks = """
        import itertools, sys, time
        for number in itertools.count():
            print("x" * 1000, number, flush=True)
            time.sleep(0.001)
    """
    spec = ChildSpec(name="talks", argv=(sys.executable, "-c", textwrap.dedent(talks)), env=dict(os.environ))
    crew.up(spec)
    log = crew.run.parent / "logs" / "talks.log"
    wait_for(lambda: crew.supervisor.tick() or log.with_suffix(".log.1").exists())
    # The child continues at the start of the emptied file, without a gap.
    wait_for(lambda: b"x" in log.read_bytes()[:1])
