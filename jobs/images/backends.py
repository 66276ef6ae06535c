"""Image stores (BOOMERANG_IMAGE_STORE): the jobs' Redis, or a folder or bucket."""

from collections.abc import Sequence

import redis

from jobs.blobs.bucket import Bucket, Purpose
from jobs.connections.client import connect
from jobs.connections.errors import translate_errors
from jobs.errors import ImagesUnavailable
from jobs.images.images import Images, ImageStore
from jobs.setting_readers import IN_REDIS
from jobs.settings import Settings
from jobs.store.redis_keys import Keys
from jobs.store.store import Store

#: Seconds. An image of 10 MB takes a moment over a slow network.
TIMEOUT = 10.0
#: The store of reference images outside Redis.
IMAGES = Purpose("image store", "BOOMERANG_IMAGE_STORE", ".boomerang-images", ImagesUnavailable)


class RedisImages:
    """Images as strings in Redis, byte for byte. `client` must not decode answers."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def write(self, name: str, data: bytes) -> None:
        """Store an object."""
        with translate_errors():
            self._client.set(self._keys.member("object", name), data)

    def read(self, name: str) -> bytes | None:
        """Read an object; None where it does not exist."""
        with translate_errors():
            data: bytes | None = self._client.get(self._keys.member("object", name))  # type: ignore[assignment] # not decoded
        return data

    def remove(self, names: Sequence[str]) -> None:
        """Remove objects."""
        with translate_errors():
            self._client.unlink(*(self._keys.member("object", name) for name in names))


def open_images(store: Store, settings: Settings, *, most_connections: int = 256) -> Images:
    """Return the images of these jobs. They connect when they are first used."""
    keys = store.context.keys
    if settings.image_store == IN_REDIS:
        binary = connect(settings.redis_url, most_connections=most_connections, timeout=TIMEOUT, text=False)
        return Images(store.context.scripts, RedisImages(binary, keys), settings)
    return Images(store.context.scripts, open_bucket(settings.image_store), settings)


def open_bucket(url: str) -> ImageStore:
    """Open a folder or bucket. Raises `ImagesUnavailable`."""
    return Bucket(url, IMAGES)
