"""What this package raises.

SchemaError
├── RequestInvalid   a producer's generation request that breaks a documented rule
├── AnswerInvalid    a provider's answer that cannot be read as a task at all
└── BodyInvalid      bytes that are not strict JSON
"""

from collections.abc import Mapping, Sequence


class SchemaError(ValueError):
    """Something that crossed the boundary does not have the shape it must have."""


class RequestInvalid(SchemaError):
    """A generation request that the provider would refuse, or that is ambiguous.

    `errors` maps a field's path (`subject_image_list.0.subject_image`; `request` for the whole) to messages, each of
    which names the problem and the remedy. `codes` holds the provider's own codes for the mistakes that have one
    (`002016001`-`002016003`), without repeats.
    """

    def __init__(self, errors: Mapping[str, Sequence[str]], codes: Sequence[str] = ()) -> None:
        self.errors: dict[str, list[str]] = {field: list(messages) for field, messages in errors.items()}
        self.codes: list[str] = list(dict.fromkeys(codes))
        super().__init__("; ".join(f"{field}: {' '.join(messages)}" for field, messages in self.errors.items()))


class AnswerInvalid(SchemaError):
    """The provider's answer is not an object, or tells no status: nothing can be concluded from it."""


class BodyInvalid(SchemaError):
    """The bytes are not strict JSON; `reason` says why, in words fit for the sender."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
