"""A user who may do all, for tests that empty, watch or configure a Redis: the product has none."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ops import access


@contextmanager
def with_admin(folder: Path) -> Iterator[Path]:
    """Until the block ends, every Redis of the local stack also has the user `admin`; all else is as it is shipped.

    `folder` gets a copy of the files; gives it.
    """
    shutil.copytree(access.FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("state", "broker"):
        with (folder / f"{name}.acl").open("a", encoding="utf-8") as file:
            file.write("user admin on >PASSWORD ~* &* +@all\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(access, "FOLDER", folder)
        yield folder
