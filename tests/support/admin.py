"""A user with all permissions, for tests that empty, watch or configure a Redis. The product has none."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ops import access


def add_admin(folder: Path) -> Path:
    """Copy the shipped users' files to `folder`, add the user `admin` to both, and return `folder`."""
    shutil.copytree(access.FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("state", "broker"):
        with (folder / f"{name}.acl").open("a", encoding="utf-8") as file:
            file.write("user admin on >PASSWORD ~* &* +@all\n")
    return folder


@contextmanager
def with_admin(folder: Path) -> Iterator[None]:
    """Add the user `admin` to every Redis of the local stack that starts before the block ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(access, "FOLDER", add_admin(folder))
        yield
