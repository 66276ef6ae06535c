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

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "jobs", "worker", "webhook", "ops")


def imported(package: str) -> set[str]:
    """Return the top-level names that a package's modules import."""
    found = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_every_imported_package_is_a_declared_dependency(package: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    # `dev`: tools for work on the project (lock, bench).
    extras = {
        "ops": ("local", "simulator", "dev"),
        "jobs": ("s3",),
        "worker": ("flower", "notices"),
        "webhook": ("thumbnails",),
    }
    for extra in extras.get(package, ()):
        wanted += project["optional-dependencies"][extra]
    asked_for = {canonicalize_name(Requirement(each).name) for each in wanted}
    providers = metadata.packages_distributions()
    foreign = imported(package) - set(sys.stdlib_module_names) - {*PACKAGES, "boomerang_client"}
    unmet = {name for name in foreign if not asked_for & {canonicalize_name(each) for each in providers.get(name, ())}}
    assert unmet == set()


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_make_without_a_target_lists_the_targets() -> None:
    listed = re.findall(r"^  make ([\w-]+) +\S", make().stdout, re.MULTILINE)
    assert listed == [
        "help",
        "demo",
        "up",
        "check",
        "test",
        "chaos",
        "compose-check",
        "lint",
        "docs",
        "screenshots",
        "audit-dependencies",
        "bench",
        "bench-compare",
        "client",
        "lock",
        "clean",
    ]


def test_make_names_the_python_that_it_needs(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 && exit 0\nexit 1\n')
    old.chmod(0o755)
    done = make("test", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}")
    assert done.returncode != 0
    assert f"Boomerang needs Python 3.11 or newer; '{old}' is Python 3.9.2" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_every_console_script_can_be_imported() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for name in scripts:
        done = subprocess.run(
            [Path(sys.executable).with_name(name), "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "Usage" in done.stdout
