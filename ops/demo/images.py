"""Fetch the saved results, and make the small images for the contact sheet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from boomerang_client import Client, Job
from ops.demo.demo_jobs import ASSETS

#: Pixels of the longer side.
THUMB, REFERENCE = 480, 120


@dataclass(frozen=True, slots=True)
class SavedImage:
    """A fetched result: its files relative to the output folder, and its size in pixels."""

    file: str
    thumb: str
    width: int
    height: int


def fetch(
    client: Client, jobs: Sequence[Job], folder: Path, progress: Callable[[], object]
) -> dict[str, list[SavedImage | None]]:
    """Fetch the images of all jobs, by job id; None for one that failed. `progress` is called after each."""
    for each in ("images", "thumbs"):
        (folder / each).mkdir(parents=True, exist_ok=True)
    found: dict[str, list[SavedImage | None]] = {job.id: [None] * len(job.output) for job in jobs}
    for saved in client.save(jobs, folder / "images"):
        if saved.path is not None:
            found[saved.job][saved.index] = _with_thumb(saved.path, folder)
        progress()
    return found


def make_references(folder: Path) -> dict[str, str]:
    """Make small versions of the photographs. Returns name → file relative to the output folder."""
    (folder / "references").mkdir(parents=True, exist_ok=True)
    made = {}
    for source in sorted((ASSETS / "images").iterdir()):
        target = f"references/{source.stem}.jpg"
        with Image.open(source) as image:
            _small(image, REFERENCE).save(folder / target, quality=82)
        made[source.name] = target
    return made


def _with_thumb(path: Path, folder: Path) -> SavedImage | None:
    thumb = f"thumbs/{path.stem}.jpg"
    try:
        with Image.open(path, formats=("PNG",)) as image:
            _small(image, THUMB).save(folder / thumb, quality=80)
            size = image.size
    except OSError:  # Pillow's errors for broken images are OSErrors too
        return None
    return SavedImage(f"images/{path.name}", thumb, *size)


def _small(image: Image.Image, side: int) -> Image.Image:
    small = image.convert("RGB")
    small.thumbnail((side, side))
    return small
