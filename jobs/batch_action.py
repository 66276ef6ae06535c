"""The result of an action on a batch."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BatchActionResult:
    """The result of an action on a batch: `affected` jobs so far. At most `pending` more follow without another call.

    `admit_hint`: send an admission hint. `clashes`: see `Uploads.commit`.
    """

    action: str
    affected: int
    pending: int = 0
    admit_hint: bool = False
    clashes: int = 0
