"""Error codes, and the class of failure that each means: what a producer can do about it.

The codes are those of the two model pages, of the provider's gateway and of its upstream (the provider contract,
"Answers to a submit"), HTTP status codes of refused submissions without a code of their own, and the service's own.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple


class FailureClass(StrEnum):
    """What kind of failure an error code means."""

    MODERATION = "moderation"  #: a content policy refused the request or its images: change them
    QUOTA = "quota"  #: the account at the provider may not pay for it or lacks a permission: the operator acts
    INVALID = "invalid"  #: the request breaks a rule: correct it
    TRANSIENT = "transient"  #: it may succeed if it is sent again, unchanged
    PROVIDER = "provider"  #: anything else that the provider reports, and codes that nobody documents
    UNSAVED = "unsaved"  #: the images exist at the provider, but could not be saved


class Code(NamedTuple):
    """The class of an error code, and its meaning for people."""

    failure: FailureClass
    meaning: str


_MODERATION, _QUOTA, _INVALID = FailureClass.MODERATION, FailureClass.QUOTA, FailureClass.INVALID
_TRANSIENT, _PROVIDER = FailureClass.TRANSIENT, FailureClass.PROVIDER

#: The code of a job whose task is completed, and probably paid for, without a result. It is not worth another attempt:
#: that would be paid for as well, so only a person may decide so.
NO_OUTPUT = "no_output"
#: The code of a job of unknown outcome that an operator gave up.
GIVEN_UP = "given_up"
#: The code of a job under whose external id the provider has an older task of somebody else.
ID_TAKEN = "external_id_taken"
#: The code of a job that names an image which is not stored any more.
IMAGE_NOT_FOUND = "image_not_found"
#: The code of a job that was submitted several times without becoming a task or a refusal.
NOT_CREATED = "not_created"
#: The code of a job for whose submission the provider sent only answers that cannot be read.
UNREADABLE_ANSWER = "unreadable_answer"

CODES = {
    "1300": Code(_MODERATION, "The request violates a policy of the platform."),
    "1301": Code(_MODERATION, "The content of the request violates the platform's safety policy."),
    "401": Code(_QUOTA, "The provider refuses the key."),
    "402": Code(_QUOTA, "The account's balance is used up."),
    "403": Code(_QUOTA, "The account lacks a permission."),
    "1100": Code(_QUOTA, "The account has a problem."),
    "1101": Code(_QUOTA, "The account has a debt."),
    "1102": Code(_QUOTA, "The account's resources are used up or have expired."),
    "1304": Code(_QUOTA, "The account does not allow this address."),
    "002016001": Code(_INVALID, "The prompt is missing."),
    "002016002": Code(_INVALID, "The prompt has more than 2,500 characters."),
    "002016003": Code(_INVALID, "The number of images n is not from 1 to 9."),
    "1200": Code(_INVALID, "The parameters of the request are invalid."),
    "1201": Code(_INVALID, "A parameter of the request has an invalid name or value."),
    "400": Code(_INVALID, "The provider refuses the request."),
    "404": Code(_INVALID, "The provider does not know the model or path."),
    "413": Code(_INVALID, "The request is too large for the provider."),
    "422": Code(_INVALID, "The provider cannot process the request."),
    IMAGE_NOT_FOUND: Code(_INVALID, "An image that the request names is not stored any more."),
    ID_TAKEN: Code(_INVALID, "The provider has an older task under the external id, which is not this job's."),
    "002016095": Code(_TRANSIENT, "Internal generation error."),
    "002016096": Code(_TRANSIENT, "The provider could not parse a result."),
    "002016097": Code(_TRANSIENT, "The provider got an HTTP error."),
    "002016098": Code(_TRANSIENT, "The provider could not check the status."),
    "002016099": Code(_TRANSIENT, "The provider could not create the task."),
    "1302": Code(_TRANSIENT, "Requests came too fast."),
    "1303": Code(_TRANSIENT, "Too many tasks were in flight."),
    NO_OUTPUT: Code(
        _PROVIDER, "The provider completed the task, which was probably paid for, without a usable result."
    ),
    NOT_CREATED: Code(_PROVIDER, "Repeated submissions created no task, and the provider named no code."),
    UNREADABLE_ANSWER: Code(_PROVIDER, "The provider's answers to the submission cannot be read."),
    GIVEN_UP: Code(_PROVIDER, "An operator gave up a job of unknown outcome."),
}


def classify(code: str) -> FailureClass:
    """Return the class of an error code. A code that is not listed, or none (''), means the provider."""
    return CODES[code].failure if code in CODES else FailureClass.PROVIDER


def codes_of(failure: FailureClass, among: Iterable[str] = CODES) -> frozenset[str]:
    """Return those of some codes that are of a class."""
    return frozenset(code for code in among if classify(code) is failure)
