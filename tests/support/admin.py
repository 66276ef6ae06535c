"""A user who may do all, for tests that empty, watch or configure a Redis: the product has none."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ops import access


def add_admin(folder: Path) -> Path:
    """Copy the users' files as they are shipped to `folder`, and add the user `admin` to both. Gives `folder`."""
    shutil.copytree(access.FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("state", "broker"):
        with (folder / f"{name}.acl").open("a", encoding="utf-8") as file:
            file.write("user admin on >PASSWORD ~* &* +@all\n")
    return folder


@contextmanager
def with_admin(folder: Path) -> Iterator[None]:
    """Every Redis of the local stack that is started until the block ends has the user `admin` too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(access, "FOLDER", add_admin(folder))
        yield
