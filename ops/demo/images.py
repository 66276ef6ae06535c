"""Download the results, and make the small images for the contact sheet."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from boomerang_client import Job
from ops.demo.demo_jobs import ASSETS
from ops.local.loopback import get

#: Pixels of the longer side.
THUMB, REFERENCE = 480, 120
#: Parallel downloads, and attempts for each image.
AT_ONCE, TRIES = 4, 3


@dataclass(frozen=True, slots=True)
class SavedImage:
    """A downloaded result: its files relative to the output folder, and its size in pixels."""

    file: str
    thumb: str
    width: int
    height: int


def download(
    jobs: Sequence[Job], folder: Path, progress: Callable[[], object], get: Callable[[str], bytes] = get
) -> dict[str, list[SavedImage | None]]:
    """Download the images of all jobs, by job id; None for one that failed. `progress` is called after each."""
    for each in ("images", "thumbs"):
        (folder / each).mkdir(parents=True, exist_ok=True)

    def one(job: Job, index: int) -> SavedImage | None:
        try:
            return _one(job.output[index].url, f"{job.id}-{index + 1}", folder, get)
        finally:
            progress()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = {job.id: [pool.submit(one, job, index) for index in range(len(job.output))] for job in jobs}
        try:
            return {id_: [each.result() for each in futures] for id_, futures in waiting.items()}
        finally:
            # After an exception, such as Ctrl-C, do not wait for the remaining downloads.
            pool.shutdown(cancel_futures=True)


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


def _one(url: str, name: str, folder: Path, get: Callable[[str], bytes]) -> SavedImage | None:
    for _ in range(TRIES):
        try:
            content = get(url)
            with Image.open(BytesIO(content), formats=("PNG",)) as image:
                _small(image, THUMB).save(folder / "thumbs" / f"{name}.jpg", quality=80)
                size = image.size
        except OSError:  # Pillow's errors for broken images are OSErrors too
            continue
        (folder / "images" / f"{name}.png").write_bytes(content)
        return SavedImage(f"images/{name}.png", f"thumbs/{name}.jpg", *size)
    return None


def _small(image: Image.Image, side: int) -> Image.Image:
    small = image.convert("RGB")
    small.thumbnail((side, side))
    return small
