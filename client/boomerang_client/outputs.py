"""Records for the generated images of a job."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Output:
    """One generated image: its `type` ("image") and its `url`, which works for a limited time.

    `url` is where to get it now: at the service once it is saved there, at the generation API (`source_url`) before.
    `url_expires_at` is when a link to the service stops working (`Job.refresh` has a new one), and `expires_at` when
    the generation API deletes the image, as far as it is known. `saved_at`, `sha256` (in hex), `size` (bytes),
    `content_type`, `width` and `height` (pixels) are those of the saved image, None while it is not saved.
    `watermark_url` is the same image with a watermark, if the generation API sent one.
    """

    type: str
    url: str
    watermark_url: str | None = None
    source_url: str | None = None
    url_expires_at: datetime | None = None
    expires_at: datetime | None = None
    saved_at: datetime | None = None
    removed_at: datetime | None = None
    sha256: str | None = None
    size: int | None = None
    content_type: str | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """How far the service has come with saving a job's images: failed `tries`, the last `error`, the next try.

    `given_up_at` is set when the service tries no more.
    """

    since: datetime | None = None
    tries: int = 0
    error: str | None = None
    next_try_at: datetime | None = None
    given_up_at: datetime | None = None
