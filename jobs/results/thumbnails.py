"""Names of thumbnails in the result store. They follow from the content, so equal images share their thumbnails."""

import re

from jobs.blobs.blob import OWN

#: The folder: of its own, so that no list of results has it. Its files can be made again.
FOLDER = f"{OWN}thumbnails"
#: Pixels of the longer side. Few sizes, so that few files are made of one image.
SIZES = (128, 256, 512, 1024)
_SHA256 = re.compile(r"[0-9a-f]{64}")


def thumbnail_name(sha256: str, side: int) -> str:
    """Return the name of the thumbnail whose longer side has `side` pixels. `sha256`: of the image, in hexadecimal."""
    return f"{FOLDER}/{sha256[:2]}/{sha256}-{side}.webp"


def thumbnail_names(sha256: str) -> tuple[str, ...]:
    """Return the names of all thumbnails of an image; none if `sha256` is malformed."""
    return tuple(thumbnail_name(sha256, side) for side in SIZES) if _SHA256.fullmatch(sha256) else ()
