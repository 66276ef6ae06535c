import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ops import lock, wheels

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^[a-z0-9.\-]+==[0-9][0-9a-z.+]*( ; .+)?$")


def pins() -> list[str]:
    return [line for line in lock.LOCK.read_text().splitlines() if not line.startswith("#")]


def test_the_lock_pins_everything_and_names_no_address() -> None:
    assert [line for line in lock.LOCK.read_text().splitlines() if "://" in line or line.startswith("-")] == []
    assert [line for line in pins() if not PIN.match(line)] == []


def test_the_lock_fits_what_the_projects_ask_for() -> None:
    locked = {canonicalize_name(pin.name): pin for pin in map(Requirement, pins())}
    for wanted in map(Requirement, lock.wanted()):
        found = locked.get(canonicalize_name(wanted.name))
        assert found is not None, f"{wanted.name} is not in the lock: make lock"
        version = str(found.specifier).removeprefix("==")
        assert wanted.specifier.contains(version), f"{found} does not fit {wanted}: make lock"
    assert lock.OWN not in locked


def imported(room: str) -> set[str]:
    """Top-level names that a room's modules import."""
    found = set()
    for path in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("room", ["schemas", "jobs", "worker", "webhook", "ops"])
def test_what_is_imported_is_asked_for(room: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = {"ops": "local", "jobs": "bucket"}.get(room)
    wanted = project["dependencies"] + (project["optional-dependencies"][extra] if extra else [])
    asked_for = {canonicalize_name(Requirement(each).name) for each in wanted}
    providers = metadata.packages_distributions()
    foreign = imported(room) - set(sys.stdlib_module_names) - frozenset().union(*wheels.MEANT.values())
    unmet = {name for name in foreign if not asked_for & {canonicalize_name(each) for each in providers.get(name, ())}}
    assert unmet == set()


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_make_alone_says_what_there_is() -> None:
    listed = re.findall(r"^  make (\w+) +\S", make().stdout, re.MULTILINE)
    assert listed == ["help", "demo", "up", "test", "chaos", "lint", "bench", "lock", "clean"]


def test_make_says_which_python_it_wants(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 && exit 0\nexit 1\n')
    old.chmod(0o755)
    done = make("test", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}")
    assert done.returncode != 0
    assert f"Boomerang needs Python 3.11 or newer; '{old}' is Python 3.9.2" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_every_console_script_leads_somewhere() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for name in scripts:
        done = subprocess.run(
            [Path(sys.executable).with_name(name), "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "Usage" in done.stdout


@pytest.mark.parametrize("project", list(wheels.MEANT), ids=lambda project: project.name)
def test_a_wheel_holds_exactly_what_is_meant(project: Path, tmp_path: Path) -> None:
    assert wheels.problems(wheels.build(project, tmp_path), project, wheels.MEANT[project]) == []
