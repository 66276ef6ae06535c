"""The outcomes of the verbs on a reference image."""

from enum import StrEnum


class KeepOutcome(StrEnum):
    """Of `image_kept`."""

    KEPT = "kept"
    KNOWN = "known"  #: another copy is stored: this object is to be removed
    SHARED = "shared"  #: the same, and the image is new to the producer
    LATE = "late"  #: the object may have been removed
