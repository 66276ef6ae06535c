"""The removal of images that no job needs."""

import logging
import time

from jobs.errors import ImagesUnavailable
from jobs.images.images import Images

log = logging.getLogger(__name__)

#: Seconds until images are removed from an image store that failed.
RETRY = 60.0


class ImagePurge:
    """Removes unused images, one step per call. After a failure of the image store, it pauses."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._at = time.monotonic()

    def __call__(self) -> None:
        """Run one step."""
        if time.monotonic() < self._at:
            return
        try:
            self._images.purge()
        except ImagesUnavailable as error:
            self._at = time.monotonic() + RETRY
            log.warning("unused images are not removed now, again in %.0f s: %s", RETRY, error)
