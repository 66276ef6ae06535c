"""Write the lock files: each package that an installation needs, with its version and the hashes of its files.

Each lock is valid for every supported Python version and machine. No lock names a registry: pip uses the one that it is
configured for, and rejects files whose hash is not listed. `make lock` runs this.
"""

import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
SERVICE, CLIENT = "boomerang-jobs", "boomerang-jobs-client"
#: The version of Python from which a lock must hold.
OLDEST_PYTHON = "3.11"
#: Everything: all extras of both distributions, and what builds them. The other locks are parts of it.
LOCK = ROOT / "requirements.lock"
#: Lock of an image's target -> the extras of the service that it installs.
IMAGES: Mapping[Path, frozenset[str]] = {
    ROOT / "locks" / "service.lock": frozenset({"flower", "notices", "s3", "thumbnails"}),
    ROOT / "locks" / "simulator.lock": frozenset({"simulator"}),
}
#: What the image's build stage runs: the build backend, and the tool that lists what the image contains.
BUILD_LOCK = ROOT / "locks" / "build.lock"
BUILD_TOOLS = ("cyclonedx-bom",)
HEADER = "# Written by `make lock`, from pyproject.toml and client/pyproject.toml. Do not edit.\n"


def all_requirements() -> list[str]:
    """Return the requirements of both distributions, with all extras and the build, without our own packages."""
    service, client = _project(ROOT), _project(ROOT / "client")
    # An editable install without build isolation needs `editables` beside hatchling.
    found = {*build_requirements(), "editables"}
    found |= {each for project in (service, client) for each in project["dependencies"]}
    found |= {
        each for project in (service, client) for extra in project["optional-dependencies"].values() for each in extra
    }
    return sorted(each for each in found if not _is_ours(each))


def image_requirements(extras: Iterable[str]) -> list[str]:
    """Return the requirements of the service with these extras, without our own packages."""
    project = _project(ROOT)
    found = {*project["dependencies"]}.union(*(project["optional-dependencies"][extra] for extra in extras))
    return sorted(each for each in found if not _is_ours(each))


def build_requirements() -> list[str]:
    """Return the requirements for building both wheels."""
    return sorted({each for folder in (ROOT, ROOT / "client") for each in _table(folder)["build-system"]["requires"]})


def build_stage_requirements() -> list[str]:
    """Return the requirements of the image's build stage, as in pyproject.toml."""
    tools = [each for each in all_requirements() if Requirement(each).name in BUILD_TOOLS]
    return [*build_requirements(), *tools]


def _table(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def _project(folder: Path) -> dict[str, Any]:
    table: dict[str, Any] = _table(folder)["project"]
    return table


def _is_ours(requirement: str) -> bool:
    return canonicalize_name(Requirement(requirement).name) in (SERVICE, CLIENT)


def write(lock: Path, requirements: Sequence[str], *options: str) -> None:
    """Resolve the requirements, and replace the lock file."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--no-config"]
    command += ["--python-version", OLDEST_PYTHON, "--generate-hashes", "--no-header", "--no-annotate"]
    command += ["--no-emit-index-url", "--no-emit-find-links", "--no-emit-package", "pip", "--output-file", str(lock)]
    subprocess.run([*command, *options, "-"], input="\n".join(requirements), text=True, check=True)  # noqa: S603 - our own command
    lock.write_text(HEADER + lock.read_text(encoding="utf-8").removeprefix(HEADER), encoding="utf-8")


def main() -> None:
    """Write all locks. With `--keep`, versions in requirements.lock stay where they still fit."""
    write(LOCK, all_requirements(), *(() if "--keep" in sys.argv[1:] else ("--upgrade",)))
    for lock, extras in IMAGES.items():
        write(lock, image_requirements(extras), "--upgrade", "--constraint", str(LOCK))
    write(BUILD_LOCK, build_stage_requirements(), "--upgrade", "--constraint", str(LOCK))


if __name__ == "__main__":
    main()
