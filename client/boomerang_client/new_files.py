"""Write files so that no other program sees half of one, and no link leads the writer elsewhere."""

import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

Finish = Callable[[Path], None]
#: How often a file is opened that other processes finish or remove meanwhile.
_OPENED = 5


@contextmanager
def new_file(folder: Path) -> Iterator[tuple[BinaryIO, Finish]]:
    """Yield a new file in the folder, and a function that gives it its path there and replaces what has that path.

    Until then the file has a name that cannot be guessed. Without that call nothing of it is left. Raises OSError, also
    when the path is a folder or a device.
    """
    # Without the name, which would be too long with more characters.
    part = folder / f".boomerang-{secrets.token_hex(8)}.part"
    # O_EXCL also refuses a link.
    handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "w+b") as file:

            def finish(path: Path) -> None:
                file.flush()
                os.fsync(file.fileno())
                _check_target(path)
                part.replace(path)

            yield file, finish
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def resumed_file(folder: Path, key: str) -> Iterator[tuple[BinaryIO, Finish]]:
    """Yield a file as `new_file` does, which the next call with the same `key` continues if it is not finished.

    Its position is the end of what is there. `key`: letters and digits that only the same content has. While another
    process writes the file, and where something else has its name, it is a new one.
    """
    part = folder / f".boomerang-{key}.part"
    with ExitStack() as stack:
        file = _open_locked(part, stack)
        if file is None:
            with new_file(folder) as made:
                yield made
            return

        def finish(path: Path) -> None:
            file.flush()
            os.fsync(file.fileno())
            _check_target(path)
            part.replace(path)

        file.seek(0, os.SEEK_END)
        try:
            yield file, finish
        finally:
            with suppress(OSError):
                file.flush()
                if not os.fstat(file.fileno()).st_size:
                    part.unlink()


def _open_locked(part: Path, stack: ExitStack) -> BinaryIO | None:
    """Open a file that no other process writes; None if that is not possible. The stack closes it."""
    # A link in its place is not followed.
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    for _ in range(_OPENED):
        with ExitStack() as opened, suppress(OSError):
            file = opened.enter_context(os.fdopen(os.open(part, flags, 0o666), "r+b"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(file.fileno())
            if not (stat.S_ISREG(found.st_mode) and found.st_nlink <= 1 and found.st_uid == os.geteuid()):
                return None
            # Before the lock was there, another process may have given the file its final name, or removed it.
            if os.path.samestat(found, part.lstat()):
                stack.push(opened.pop_all())
                return file
    return None


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
