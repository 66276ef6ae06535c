"""The outcomes of the verbs on the installation: whether the jobs' Redis holds what it should."""

from enum import StrEnum


class FoundOutcome(StrEnum):
    """Of `found`."""

    FOUND = "found"
    REFUSED = "refused"  #: a worker found that data are lost
    CHANGED = "changed"  #: another epoch has begun


class RefuseOutcome(StrEnum):
    """Of `refuse`."""

    REFUSED = "refused"
    ALREADY = "already"  #: it is refused already; the first reason stays
    CHANGED = "changed"  #: another epoch has begun


class TolerateOutcome(StrEnum):
    """Of `tolerate`."""

    TOLERATED = "tolerated"
    REFUSED = "refused"  #: another worker found that more is lost
    CHANGED = "changed"  #: another epoch has begun
