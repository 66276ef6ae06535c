"""The values among which the service's API chooses, as types: a typo fails type checking.

A service may know more than this version of the client, such as a new model. `Other` passes any text:
`client.generate(model=Other("kirin_image_next"), …)`.
"""

from typing import Literal, NewType, TypeAlias

#: A value that this version of the client does not know, or text from elsewhere. The service checks it.
Other = NewType("Other", str)

Model: TypeAlias = Literal["kirin_image_omni", "kirin_v2_1_reference2image"] | Other
AspectRatio: TypeAlias = Literal["16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9", "auto"] | Other
Resolution: TypeAlias = Literal["1k", "2k"] | Other
Priority: TypeAlias = Literal["high", "normal", "low"] | Other
OnError: TypeAlias = Literal["skip", "abort"] | Other
#: States of jobs by name. `Status` has the same as an enum.
JobState: TypeAlias = (
    Literal["queued", "submitting", "in_doubt", "in_progress", "completed", "failed", "cancelled", "expired"] | Other
)
BatchState: TypeAlias = Literal["running", "paused", "done"] | Other
#: Why a job failed (`Job.failure`).
FailureClass: TypeAlias = Literal["moderation", "quota", "invalid", "transient", "provider", "unsaved"] | Other
#: Whether people find an output good enough (`Review.verdict`).
Verdict: TypeAlias = Literal["accepted", "rejected"] | Other
DeliveryState: TypeAlias = Literal["pending", "failed", "delivered", "given_up"] | Other
Include: TypeAlias = Literal["request", "revisions", "reviews", "timeline"] | Other
