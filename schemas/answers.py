"""Parse the provider's answers and callbacks, in every shape that the provider contract lists.

The contract asks for tolerance: unknown members are dropped, and a member of the wrong type counts as absent. Only a
status is required.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from marshmallow import fields

from schemas.errors import AnswerInvalid
from schemas.moments import read_moment
from schemas.money import read_cost
from schemas.outputs import Outputs, read_outputs
from schemas.provider_report import Submission, TaskError, TaskReport, TaskStatus, Usage
from schemas.reader_schema import ReaderSchema

#: Status words of the contract. Their case does not matter.
_WORDS = {
    TaskStatus.WAITING: ("queued", "pending", "submitted", "in_queue", "starting"),
    TaskStatus.RUNNING: ("in_progress", "processing", "running", "generating"),
    TaskStatus.COMPLETED: ("completed", "complete", "succeed", "succeeded", "success", "done"),
    TaskStatus.FAILED: ("failed", "fail", "error", "cancelled", "canceled", "rejected", "expired"),
}
_STATUS = {word: status for status, words in _WORDS.items() for word in words}

#: Members by which to tell the upstream's newer shape from the gateway's, which also has `id` and `status`. Only the
#: gateway's has a price or an `output`.
_NEWER_MARKS = frozenset({"outputs", "external_id", "create_time", "update_time"})
_GATEWAY_MARKS = frozenset({"output", "usage", "error"})

#: Longest id of a task in characters, and most digits of a number that is an id or a code.
_MAX_ID = 512
_DIGITS = 40

#: Most characters of an error's code and message that are kept: they are stored with the job.
_MAX_CODE, _MAX_MESSAGE = 64, 2000
#: Most characters of a discount, as JSON.
_MAX_DISCOUNT = 1000
#: A number of at most nine digits, as text. The provider's codes have nine digits, of which two may be zeros in front.
_WHOLE_NUMBER = re.compile(r"([0-9]{1,9})(?:\.0+)?")
_CODE_DIGITS, _FEWEST_PADDED = 9, 7


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**_DIGITS else None


def _identifier(value: object) -> str | None:
    number = _integer(value)
    text = str(number) if number is not None else _text(value)
    return text if 0 < len(text) <= _MAX_ID else None


def _code(value: object) -> str:
    """Return the code as the provider's tables print it.

    A code that was a number on its way has lost the leading zeros, and may have got a fraction: 2016001, "2016001" and
    2016001.0 are 002016001. Kling's codes have four digits and no zeros.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    number = _integer(value)
    text = _text(value) if number is None else str(number)
    digits = _WHOLE_NUMBER.fullmatch(text)
    if digits is None:
        return text
    return digits[1].zfill(_CODE_DIGITS) if len(digits[1]) >= _FEWEST_PADDED else digits[1]


def _error(value: object) -> TaskError | None:
    match value:
        case Mapping():
            code, message = _code(value.get("code")), _text(value.get("message")) or _text(value.get("error_message"))
        case str():
            code, message = "", _text(value)
        case _:
            code, message = _code(value), ""
    return TaskError(code[:_MAX_CODE], message[:_MAX_MESSAGE]) if code or message else None


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _output(value: object) -> Outputs:
    """Return each `url` of each `content`. `output` is one object `{"content": [...]}` or a list of them."""
    holders = [holder for holder in _items(value) if isinstance(holder, Mapping)]
    return read_outputs(item for holder in holders for item in _items(holder.get("content")))


def _outputs(value: object) -> Outputs:
    return read_outputs(_items(value))


def _task_result(value: object) -> Outputs:
    return read_outputs(_items(value.get("images"))) if isinstance(value, Mapping) else Outputs()


def _usage(value: object) -> Usage | None:
    match value:
        case Mapping():
            return Usage(read_cost(value.get("cost")), _discount(value.get("discount")))
        case None | False | "" | []:
            return None
        case _:
            # The amount itself, or something else about money.
            return Usage(read_cost(value))


def _discount(value: object) -> Any:
    """Return the discount as it was sent; None if it is too long to store, or NaN or infinite, which JSON has not."""
    if value is None or isinstance(value, int):  # as almost always
        return value
    try:
        return value if len(json.dumps(value, allow_nan=False)) <= _MAX_DISCOUNT else None
    except ValueError:
        return None


def _task_info(value: object) -> str | None:
    return _identifier(value.get("external_task_id")) if isinstance(value, Mapping) else None


def _read(reader: Callable[[Any], Any], **options: Any) -> fields.Function:
    return fields.Function(deserialize=reader, allow_none=True, **options)


class _Shape(ReaderSchema):
    """A documented shape: the upstream's own or the gateway's. A report needs `status_text` only."""

    upstream: ClassVar[bool] = True
    created_at = _read(read_moment)
    create_time = _read(read_moment)

    def report(self, answer: Mapping[Any, Any]) -> TaskReport | None:
        """Return the report in an answer, or None if it has no status."""
        data = self.members(answer)
        if not data.get("status_text"):
            return None
        status = _STATUS.get(data["status_text"].lower(), TaskStatus.UNKNOWN)
        message = data.pop("message", None)
        if status is TaskStatus.FAILED and message and not data.get("error"):
            data["error"] = _error(message)
        # Some members have two names. The first one present counts.
        task_id = data.pop("id", None) or data.pop("task_id", None)
        data.pop("task_id", None)
        external = data.pop("own_id", None) or data.pop("external_task_id", None)
        data.pop("external_task_id", None)
        created = data.pop("create_time", None)
        data["created_at"] = data.get("created_at") or created
        outputs = data.pop("output", None) or Outputs()
        data |= {"output": outputs.kept, "left_out": outputs.left_out}
        return TaskReport(status=status, task_id=task_id, external_task_id=external, upstream=self.upstream, **data)


class _GatewayTask(_Shape):
    """Shape 1: the gateway's task, as the status endpoint returns it."""

    upstream = False
    status_text = _read(_text, data_key="status")
    id = _read(_identifier)
    task_id = _read(_identifier)
    external_task_id = _read(_identifier)
    output = _read(_output)
    error = _read(_error)
    usage = _read(_usage)
    metadata = fields.Raw(allow_none=True)


class _KlingTask(_Shape):
    """Shape 2: Kling's callback."""

    status_text = _read(_text, data_key="task_status")
    task_id = _read(_identifier)
    external_task_id = _read(_identifier)
    own_id = _read(_task_info, data_key="task_info")
    message = _read(_text, data_key="task_status_msg")
    output = _read(_task_result, data_key="task_result")


class _KlingNewTask(_Shape):
    """Shape 3: Kling's newer callback."""

    status_text = _read(_text, data_key="status")
    id = _read(_identifier)
    external_task_id = _read(_identifier, data_key="external_id")
    message = _read(_text)
    output = _read(_outputs, data_key="outputs")


class _Created(ReaderSchema):
    """An answer to a submission: an id, or an error in `error` or (Kling) at the top level."""

    id = _read(_identifier)
    task_id = _read(_identifier)
    error = _read(_error)
    code = _read(_code)
    message = _read(_text)
    error_message = _read(_text)


_gateway, _kling, _kling_new, _created = _GatewayTask(), _KlingTask(), _KlingNewTask(), _Created()


def _shape(data: Mapping[Any, Any]) -> _Shape | None:
    if "task_status" in data:
        return _kling
    if "status" not in data:
        return None
    newer = not _NEWER_MARKS.isdisjoint(data) and _GATEWAY_MARKS.isdisjoint(data)
    return _kling_new if newer else _gateway


def read_callback(data: object) -> TaskReport | None:
    """Parse a callback's body: any of the three shapes, at the top level or under `data`.

    Returns None for any other JSON value, which only says that something changed. Never raises.
    """
    if not isinstance(data, Mapping):
        return None
    # The inner object first: the outer one may have a `status` of its own ("success") that is not the task's.
    for candidate in (data.get("data"), data):
        report = _report(candidate) if isinstance(candidate, Mapping) else None
        if report is not None:
            return report
    return None


def _report(candidate: Mapping[Any, Any]) -> TaskReport | None:
    shape = _shape(candidate)
    return shape.report(candidate) if shape else None


def read_task(data: object) -> TaskReport:
    """Parse the status endpoint's answer.

    Raises `AnswerInvalid` if it is not an object or has no status. A status outside the contract becomes `UNKNOWN`.
    """
    report = read_callback(data)
    if report is None:
        raise AnswerInvalid(
            "the answer has no task status" if isinstance(data, Mapping) else "the answer is not a JSON object"
        )
    return report


def read_submission(data: object) -> Submission:
    """Parse the answer to a submission, of any HTTP status: the task's id, or the error.

    The id is in `id`, `task_id`, `data.id` or `data.task_id`. Never raises: an unreadable answer gives a Submission
    with neither, since "a 200 without an id means that the task was not created" (the provider contract).
    """
    if not isinstance(data, Mapping):
        return Submission(task_id=None)
    answers = [_created.members(part) for part in (data, data.get("data")) if isinstance(part, Mapping)]
    ids = [answer[name] for answer in answers for name in ("id", "task_id") if answer.get(name)]
    task_id: str | None = ids[0] if ids else None
    errors = [answer["error"] for answer in answers if answer.get("error")]
    if not errors and task_id is None:
        errors = [error for answer in answers if (error := _error(answer)) is not None and error.code != "0"]
    return Submission(task_id=task_id, report=read_callback(data), error=errors[0] if errors else None)
