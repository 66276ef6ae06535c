"""The image store, where it is not Redis: whether it takes, gives and removes an object."""

import secrets
from collections.abc import Iterator

from jobs.errors import ImagesUnavailable
from jobs.images.backends import open_bucket
from jobs.setting_readers import IN_REDIS
from jobs.settings import Settings
from ops.doctor.check import Finding, bad, ok


def look_at_images(settings: Settings) -> Iterator[Finding]:
    """Write, read and remove a small object. Redis is looked at elsewhere."""
    about = "image store"
    if settings.image_store == IN_REDIS:
        return
    name, data = f"doctor-{secrets.token_hex(8)}", secrets.token_bytes(32)
    try:
        bucket = open_bucket(settings.image_store)
        bucket.write(name, data)
        read = bucket.read(name)
        bucket.remove([name])
    except ImagesUnavailable as error:
        cause = error.__cause__ or error
        do = "Look at BOOMERANG_IMAGE_STORE, at its keys, and at the rights to read, write, list and delete there."
        yield bad(about, f"failed: {type(cause).__name__}: {cause}", do)
        return
    if read == data:
        yield ok(about, "takes, gives and removes an object; webhook and workers must see the same one")
    else:
        yield bad(about, "gives something else than it took", "Is a cache or proxy in front of it?")
