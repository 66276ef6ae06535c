"""Virtual environments for tests of installations. Packages come from the tests' environment, not an index."""

import os
import re
import subprocess
import sys
import venv
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: Our distributions, by current and earlier names, are never copied from the tests' environment.
OURS = frozenset({"boomerang", "boomerang-client", "boomerang-jobs", "boomerang-jobs-client"})


def third_party() -> set[str]:
    """Return every installed distribution that is not ours."""
    return {str(canonicalize_name(each.name)) for each in metadata.distributions()} - OURS


def needed_by(requirements: Iterable[str]) -> set[str]:
    """Return the third-party distributions that the requirements need, directly or not."""
    found: set[str] = set()
    waiting = [Requirement(each) for each in requirements]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        extras = wanted.extras or {""}
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        if name in found and not wanted.extras:
            continue
        found.add(name)
        for line in metadata.requires(name) or ():
            deeper = Requirement(line)
            if deeper.marker is None or any(deeper.marker.evaluate({"extra": extra}) for extra in extras):
                deeper.marker = None
                waiting.append(deeper)
    return found - OURS


class Environment:
    """A separate environment with some of the installed distributions."""

    def __init__(self, folder: Path, distributions: Iterable[str]) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self.bin = folder / "bin"
        self._packages = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        for name in distributions:
            for entry in _entries(metadata.distribution(name)):
                link = self._packages / entry.name
                if not link.exists():
                    link.symlink_to(entry)

    def pip(self, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run pip for this environment, without a package index."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        env |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        # Without isolation a build uses this environment's backend. An isolated one would download it.
        isolation = ["--no-build-isolation"] if arguments[0] == "install" else []
        command = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), *arguments, *isolation]
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)

    def run(self, *command: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's programs, without the variables of the tests' environment."""
        program, *arguments = command
        env = {"PATH": f"{self.bin}{os.pathsep}{os.defpath}", "HOME": str(folder)}
        return subprocess.run(
            [str(self.bin / program), *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False
        )


def build_wheel(project: Path, folder: Path) -> Path:
    """Build the project's wheel with the installed build backend."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(project)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    made = re.findall(r"Successfully built (\S+\.whl)", done.stdout)
    return folder / made[-1]


def _entries(distribution: metadata.Distribution) -> Iterator[Path]:
    """Return the modules, packages and metadata of a distribution in its site-packages."""
    names = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}
    for name in names:
        yield Path(str(distribution.locate_file(name)))
