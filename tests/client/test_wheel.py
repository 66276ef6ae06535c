"""The client's wheel in environments with its required dependencies only: the library, and the command."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from packaging.requirements import Requirement

from boomerang_client import __version__
from boomerang_client.cli import main
from tests.support.environments import Environment, build_wheel, needed_by

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT / "client", tmp_path_factory.mktemp("wheel"))


def installed(wheel: Path, folder: Path, *requirements: str) -> Environment:
    environment = Environment(folder / "venv", needed_by(requirements))
    done = environment.pip("install", "--no-deps", str(wheel), folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return environment


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return installed(wheel, tmp_path_factory.mktemp("bare"), *PROJECT["dependencies"])


@pytest.fixture(scope="module")
def with_command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return installed(wheel, tmp_path_factory.mktemp("cli"), *PROJECT["dependencies"], *EXTRAS["cli"])


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from commands(below, (*path, name))


def test_the_library_works_without_the_command(bare: Environment, tmp_path: Path) -> None:
    code = "import boomerang_client as b; print(b.__version__, b.Client('http://127.0.0.1:1', 'key'))"
    done = bare.run("python", "-c", code, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{__version__} Client(")


def test_the_client_for_asyncio_names_the_package_that_its_extra_installs(bare: Environment, tmp_path: Path) -> None:
    done = bare.run("python", "-c", "from boomerang_client import AsyncClient", folder=tmp_path)
    assert done.returncode == 1
    # The client is on no package index, so the extra cannot be installed by its name. aiohttp installs the rest of it.
    (aiohttp,) = [each for each in EXTRAS["async"] if each.startswith("aiohttp")]
    assert f"pip install '{aiohttp}'" in done.stderr


def test_the_client_for_asyncio_works_with_its_extra(wheel: Path, tmp_path: Path) -> None:
    environment = installed(wheel, tmp_path, *PROJECT["dependencies"], *EXTRAS["async"])
    code = "from boomerang_client import AsyncClient as A; print(A('http://127.0.0.1:1', 'key'))"
    done = environment.run("python", "-c", code, folder=tmp_path)
    assert (done.returncode, done.stdout.startswith("AsyncClient(")) == (0, True), done.stderr


@pytest.mark.parametrize("args", [("--version",), ("--help",), ("enqueue", "--help"), ("list", "jobs")], ids=" ".join)
def test_the_command_names_the_packages_that_it_needs(bare: Environment, tmp_path: Path, args: tuple[str, ...]) -> None:
    done = bare.run("boomerang", *args, folder=tmp_path)
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1
    assert {Requirement(each).name for each in EXTRAS["cli"]} <= set(re.findall(r"[\w-]+", done.stderr))


def test_it_prints_its_version(with_command: Environment, tmp_path: Path) -> None:
    done = with_command.run("boomerang", "--version", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"\b{re.escape(__version__)}$", done.stdout.strip())


@pytest.mark.parametrize("args", [*commands(main)], ids=" ".join)
def test_each_command_has_a_help_text(with_command: Environment, tmp_path: Path, args: tuple[str, ...]) -> None:
    done = with_command.run("boomerang", *args, "--help", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: boomerang {' '.join(args)}".rstrip())
