"""The errors of this package.

SchemaError
├── RequestInvalid   a generation request breaks a documented rule
├── AnswerInvalid    a provider's answer is not a task
└── BodyInvalid      bytes are not strict JSON
"""

from collections.abc import Mapping, Sequence


class SchemaError(ValueError):
    """Data from outside does not have the required shape."""


class RequestInvalid(SchemaError):
    """A generation request is ambiguous, or the provider would refuse it.

    `errors` maps the path of each field (`subject_image_list.0.subject_image`; `request` for the whole) to messages
    that say what is wrong and what to do. `codes` are the provider's codes for these errors (`002016001`-`002016003`),
    each once. `unknown`: the paths of parameters that are refused only because no schema knows them.
    """

    def __init__(
        self, errors: Mapping[str, Sequence[str]], codes: Sequence[str] = (), unknown: Sequence[str] = ()
    ) -> None:
        self.errors: dict[str, list[str]] = {field: list(messages) for field, messages in errors.items()}
        self.unknown = tuple(unknown)
        self.codes: list[str] = list(dict.fromkeys(codes))
        super().__init__("; ".join(f"{field}: {' '.join(messages)}" for field, messages in self.errors.items()))


class AnswerInvalid(SchemaError):
    """The provider's answer is not an object, or has no status."""


class BodyInvalid(SchemaError):
    """The bytes are not strict JSON. `reason` says why, for the sender."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
