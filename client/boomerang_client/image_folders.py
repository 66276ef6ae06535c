"""Find the images that a request names. It may come from somebody else, so it reaches only folders that the user named.

Otherwise a file of requests could name any image of this machine, and the service would show it to others.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from boomerang_client.errors import UsageError

#: A folder, or several. Names of images are relative to the first that has them.
Folders: TypeAlias = Path | Sequence[Path]


def folders_of(given: "Folders | None") -> tuple[Path, ...]:
    """Return the folders as a tuple, empty for None."""
    return () if given is None else (given,) if isinstance(given, Path) else tuple(given)


def find_image(name: str, folders: Sequence[Path]) -> Path:
    """Return the file that a request names. Links are resolved.

    Raises UsageError for a file outside of the folders; the message follows on "<field>: ".
    """
    written = Path(name).expanduser() if name.startswith("~/") else Path(name)
    found: list[Path] = []
    try:
        roots = [folder.resolve() for folder in folders]
        for folder in folders:
            path = (folder / written).resolve()
            inside = any(path.is_relative_to(root) for root in roots)
            if inside and path.exists():
                return path
            found += [] if inside else [path]
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL, a loop of links, no home
        raise UsageError(f"{name} cannot be read ({getattr(error, 'strerror', None) or error}); check it") from error
    if found:
        raise UsageError(
            f"{name} is not sent: it is outside of {folders[0]}. If you trust this request, allow its folder: "
            f"--pictures {found[0].parent} (in Python: folder=[…, Path({str(found[0].parent)!r})])"
        )
    return folders[0] / written
