"""The values of settings that are one of several words."""

from enum import StrEnum


class UnknownParameters(StrEnum):
    """What happens to parameters of a request that the model's schema does not know."""

    REFUSE = "refuse"
    PASS = "pass"  # noqa: S105 - no password


class Ambiguous(StrEnum):
    """What happens to a submission whose outcome cannot be looked up."""

    HOLD = "hold"  #: leave it in doubt until an operator decides: never pay twice
    RESEND = "resend"  #: send it again: never lose one, perhaps pay twice


class CallbackMode(StrEnum):
    """How far the content of a callback is trusted."""

    TRUST = "trust"  #: a final callback that carries result and usage settles the job
    CONFIRM = "confirm"  #: every callback only triggers a poll; the status endpoint settles
