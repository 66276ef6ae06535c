"""Check that an image store outside Redis can write, read and remove an object."""

import secrets
from collections.abc import Iterator

from jobs.errors import ImagesUnavailable
from jobs.images.backends import open_bucket
from jobs.setting_readers import IN_REDIS
from jobs.settings import Settings
from ops.doctor.check import Finding, bad, ok


def check_images(settings: Settings) -> Iterator[Finding]:
    """Write, read and remove a small object. No finding if images are kept in Redis."""
    subject = "image store"
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
        remedy = "Check BOOMERANG_IMAGE_STORE, its credentials, and the rights to read, write, list and delete."
        yield bad(subject, f"failed: {type(cause).__name__}: {cause}", remedy)
        return
    if read == data:
        yield ok(subject, "an object was written, read and removed; webhook and workers must use the same store")
    else:
        yield bad(subject, "returned other data than were written", "Look for a cache or proxy in front of it.")
