"""The outcomes of the verbs on Celery messages."""

from enum import StrEnum


class ParkOutcome(StrEnum):
    """Of `park`: whether a Celery message is parked, or what its worker does with it now."""

    PARKED = "parked"
    REVOKED = "revoked"  #: parked, but it was revoked before it came
    FULL = "full"  #: not parked: too many messages wait for this job
    FINAL = "final"  #: the job has ended: finish the message from its record; with a mark, then call `message_finished`
    FOREIGN = "foreign"  #: the same, but the job is another producer's: finish the message with an error
    FINISHED = "finished"  #: the job has ended, and this message was finished before
    OWED = "owed"  #: the job has ended, and another process is finishing this message
    UNKNOWN = "unknown"


class RefusalOutcome(StrEnum):
    """Of `begin_refusal`."""

    FIRST = "first"  #: end the message, then call `end_refusal`
    AGAIN = "again"  #: it was ended before
    BUSY = "busy"  #: another process is ending it


class MessageOutcome(StrEnum):
    """Of `message_finished`."""

    FINISHED = "finished"
    OWED = "owed"  #: other messages of the job are still to be finished
    UNFINISHED = "unfinished"  #: the job was retried: its next end finishes the message again


class RevokeOutcome(StrEnum):
    """Of `revoke`, for each Celery task."""

    CANCELLED = "cancelled"
    OVER = "over"  #: its job has ended
    REMEMBERED = "remembered"  #: it is not parked: its id is stored in case its message still comes
