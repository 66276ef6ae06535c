"""Read an image on stdin and write a small WebP on stdout: `python render_thumbnail.py SIDE PIXELS SECONDS`.

It runs in a process of its own, with limits of the kernel: decoders are complex, their input comes from outside, and a
file of some kilobytes can ask for gigabytes or minutes. It exits with 3, and a reason on stderr, if there is no
thumbnail, and with another code if the machine is at fault. It imports nothing of the service.
"""

import io
import os
import resource
import sys
import warnings
from typing import Any

#: Bytes of memory.
MEMORY = 1024 * 1024 * 1024
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
#: The exit code of a file of which no thumbnail can be made.
IMPOSSIBLE = 3
_QUALITY = 80


def main() -> None:
    """Make the thumbnail."""
    side, most_pixels, seconds = (int(text) for text in sys.argv[1:])
    _limit_resources(seconds)
    # The limits must be in force before the library reads anything.
    from PIL import Image, ImageOps  # noqa: PLC0415

    warnings.simplefilter("error")
    Image.MAX_IMAGE_PIXELS = most_pixels
    try:
        with Image.open(io.BytesIO(sys.stdin.buffer.read()), formats=FORMATS) as image:
            # The header is read, and no pixel yet.
            if image.width * image.height > most_pixels:
                _refuse(f"it has {image.width} × {image.height} px, more than {most_pixels:,} pixels")
            image.draft("RGB", (side * 2, side * 2))  # decodes a JPEG at a fraction of its size
            image.load()
            made = io.BytesIO()
            _small(image, side, ImageOps).save(made, "WEBP", quality=_QUALITY, method=4)
    except Exception as error:  # noqa: BLE001 - decoders raise what they like for a file that is damaged
        _refuse(f"it cannot be decoded ({type(error).__name__})")
    sys.stdout.buffer.write(made.getvalue())


def _small(image: Any, side: int, ops: Any) -> Any:
    turned = ops.exif_transpose(image)
    has_alpha = "A" in turned.getbands() or "transparency" in turned.info
    small = turned.convert("RGBA" if has_alpha else "RGB")
    small.thumbnail((side, side))
    small.info.clear()  # no metadata of the original
    return small


def _limit_resources(seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    # The soft limit comes first: SIGXCPU tells it from a SIGKILL of the machine.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(10)  # callbacks come first


def _refuse(reason: str) -> None:
    sys.stderr.write(reason)
    sys.exit(IMPOSSIBLE)


if __name__ == "__main__":
    main()
