"""Fetch the results before they are gone, and make what the contact sheet shows of them."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from boomerang_client import Job
from ops.demo.orders import ASSETS
from ops.local.loopback import get

THUMB = 480  # pixels of the longer side
REFERENCE = 120
AT_ONCE = 4
TRIES = 3


@dataclass(frozen=True, slots=True)
class Picture:
    """A fetched result: its files relative to the output folder, and its size in pixels."""

    file: str
    thumb: str
    width: int
    height: int


def fetch(
    jobs: Sequence[Job], folder: Path, progress: Callable[[], object], get: Callable[[str], bytes] = get
) -> dict[str, list[Picture | None]]:
    """Every picture of every job, by job id, in order; None where it could not be had. `progress` after each."""
    for each in ("pictures", "thumbs"):
        (folder / each).mkdir(parents=True, exist_ok=True)

    def one(job: Job, index: int) -> Picture | None:
        try:
            return _one(job.output[index].url, f"{job.id}-{index + 1}", folder, get)
        finally:
            progress()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = {job.id: [pool.submit(one, job, index) for index in range(len(job.output))] for job in jobs}
        try:
            return {id_: [each.result() for each in futures] for id_, futures in waiting.items()}
        finally:
            # Only an exception leaves any: whoever ends the demo does not wait for hundreds of pictures.
            pool.shutdown(cancel_futures=True)


def references(folder: Path) -> dict[str, str]:
    """Small versions of the photographs: name → file relative to the output folder."""
    (folder / "references").mkdir(parents=True, exist_ok=True)
    made = {}
    for source in sorted((ASSETS / "images").iterdir()):
        target = f"references/{source.stem}.jpg"
        with Image.open(source) as image:
            _small(image, REFERENCE).save(folder / target, quality=82)
        made[source.name] = target
    return made


def _one(url: str, name: str, folder: Path, get: Callable[[str], bytes]) -> Picture | None:
    for _ in range(TRIES):
        try:
            content = get(url)
            with Image.open(BytesIO(content), formats=("PNG",)) as image:
                _small(image, THUMB).save(folder / "thumbs" / f"{name}.jpg", quality=80)
                size = image.size
        except OSError:  # what Pillow raises for a broken image is one as well
            continue
        (folder / "pictures" / f"{name}.png").write_bytes(content)
        return Picture(f"pictures/{name}.png", f"thumbs/{name}.jpg", *size)
    return None


def _small(image: Image.Image, side: int) -> Image.Image:
    small = image.convert("RGB")
    small.thumbnail((side, side))
    return small
