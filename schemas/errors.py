"""The errors of this package.

SchemaError
├── RequestInvalid   a generation request breaks a documented rule
├── AnswerInvalid    a provider's answer is not a task
└── BodyInvalid      bytes are not strict JSON
"""

from collections.abc import Mapping, Sequence

from schemas.error_budget import bounded


class SchemaError(ValueError):
    """Data from outside does not have the required shape."""


class RequestInvalid(SchemaError):
    """A generation request is ambiguous, or the provider would refuse it.

    `errors` maps the path of each field (`subject_image_list.0.subject_image`; `request` for the whole) to messages
    that say what is wrong and what to do, within the bounds of `schemas.error_budget`. `codes` are the provider's codes
    for these errors (`002016001`-`002016003`), each once. `unknown`: those of the paths that name parameters which no
    schema knows.
    """

    def __init__(
        self, errors: Mapping[str, Sequence[str]], codes: Sequence[str] = (), unknown: Sequence[str] = ()
    ) -> None:
        self.errors = bounded(errors)
        self.unknown = tuple(name for name in unknown if name in self.errors)
        self.codes: list[str] = list(dict.fromkeys(codes))
        super().__init__("; ".join(f"{field}: {' '.join(messages)}" for field, messages in self.errors.items()))


class AnswerInvalid(SchemaError):
    """The provider's answer is not an object, or has no status."""


class BodyInvalid(SchemaError):
    """The bytes are not strict JSON. `reason` says why, for the sender."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
