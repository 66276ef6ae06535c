"""Write files so that no other program sees half of one, and no link leads the writer elsewhere."""

import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

Finish = Callable[[Path], None]


@contextmanager
def new_file(folder: Path) -> Iterator[tuple[BinaryIO, Finish]]:
    """Yield a new file in the folder, and a function that gives it its path there and replaces what has that path.

    Until then the file has a name that cannot be guessed. Without that call nothing of it is left. Raises OSError, also
    when the path is a folder or a device.
    """
    # Without the name, which would be too long with more characters.
    part = folder / f".boomerang-{secrets.token_hex(8)}.part"
    # O_EXCL also refuses a link.
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:

            def finish(path: Path) -> None:
                file.flush()
                os.fsync(file.fileno())
                _check_target(path)
                part.replace(path)

            yield file, finish
    finally:
        with suppress(OSError):
            part.unlink()


def _check_target(path: Path) -> None:
    """Raise OSError if the path is something that must not be replaced, such as a link to a device or folder.

    Another link is replaced, not followed.
    """
    if path.absolute().is_relative_to("/dev"):  # /dev/stdout may be a link to a regular file
        raise OSError(0, "it is not a regular file")
    try:
        modes = [path.lstat().st_mode]
    except FileNotFoundError:
        return
    with suppress(OSError):  # a link to nothing
        modes.append(path.stat().st_mode)
    if not all(stat.S_ISREG(mode) or stat.S_ISLNK(mode) for mode in modes):
        raise OSError(0, "it is not a regular file")
