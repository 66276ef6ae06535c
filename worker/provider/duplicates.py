"""Whether the provider's refusal of a submission is about its external id.

The provider contract: "it exists already: look it up and adopt it". Gateways say so in many words, languages and forms:
`external_task_id has been used`, `externalTaskId already exists`, FastAPI's list under `detail`. A look-up costs
seconds, and a false failure costs a paid result. So the words only decide whether the task is looked up first.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from enum import Enum
from typing import Any
from unicodedata import normalize

from schemas import BodyInvalid, read_object

#: Characters of an answer that are searched, and the depth of the objects in it.
_LONGEST, _DEEPEST = 20_000, 8
#: Members of an error that repeat the request (pydantic's `input`), and say nothing about it.
_ECHOES = frozenset({"input", "params", "request", "ctx", "url", "prompt"})

#: Names that only an external id has, after `_plain`.
_NAMES = re.compile(
    r"externalid|external( task| job| request| order)? ?(ids?|no|number|key|identifiers?)\b|externaltask|external task"
    r"|idempoten|外部.{0,3}(任务|任務|id|编号|編號|单号)|幂等|冪等|外部タスク|외부"
)
#: Names that it shares with other ids, such as the request id that many answers end with.
_SHARED = (
    r"(?:(?:client|custom|caller|request|out|out trade|business|biz|third party|user|order)"
    r"(?: task| job| request| order)? ?(?:ids?|no|number|key|identifiers?)\b"
    r"|\btask ?ids?\b|任务 ?(?:id|编号|标识|号)|任務 ?(?:id|編號)|タスクid)"
)
_SHARED_NAME = re.compile(_SHARED)
#: Words that say by themselves that something was sent before.
_DUPLICATE = re.compile(
    r"duplicat|\bdup\b|resubmi|submitted before|once only|only once"
    r"|\b(task|job|request|submission|order) (has |was )?(already )?(exist|submitted|been submitted)"
    r"|重复|重複|已提交|已创建|중복"
)
#: Words that say it only in the sentence that names the id.
_TAKEN = re.compile(
    r"already|\bexist|repeat|unique|uniqueness|\btaken\b|\bin use\b|\bused\b|\bre ?used?\b|occupied"
    r"|conflict|collision|not available|unavailable id|idempoten|registered"
    r"|存在|已被|已使用|使用过|使用過|占用|佔用|唯一|冲突|衝突"
    r"|既に|すでに|使用済|이미|존재"
)
#: A shared name that is said to be taken, with nothing between but its value: "order id 4711 already exists".
_SHARED_TAKEN = re.compile(
    rf"(duplicat\w*|重复的?|重複的?)( value)?( for| of)?( the| your)? ?{_SHARED}"
    rf"|{_SHARED}( value| \S{{0,64}}[0-9]\S{{0,64}}| [\"'`]\S{{0,64}}[\"'`])?,?"
    r"( (is|has|was|be|been|must|should|an?|not|already|also))* ?"
    r"(duplicat|exist|taken|in use|used\b|re ?used|repeat|unique|conflict"
    r"|存在|重复|重複|已存在|已被|已使用|冲突|衝突|使用済|が?存在)"
)
_SENTENCE = re.compile(r"\.(?= |$)|[!?;。]")
#: What looks like such a word, and says the opposite.
_NOT_THERE = re.compile(
    r"\b(does not|doesn't|doesnt|do not|don't|did not|didn't|must|cannot|can't|not|no longer|non) ?exist\w*"
    r"|\bnot (be )?(used|unique|in use|taken|registered)\b|\b(can|can't|must|may|should|cannot|not|to) be used\b"
    r"|\bused (for|with|in|to|by)\b"
    r"|不存在|未存在|存在しない|존재하지"
)


class About(Enum):
    """What a refusal says about the external id."""

    NOTHING = 0
    #: It names the id, or says that something exists: look the task up before the job fails.
    PERHAPS = 1
    #: It says that the id exists.
    EXISTS = 2


def about_id(body: bytes, external_task_id: str) -> About:
    """Return what the body of a refusal says about the external id. Never raises, and takes bounded time."""
    text, own = _NOT_THERE.sub(" ", _plain(" ".join(_texts(body))[:_LONGEST])), _plain(external_task_id)
    named, duplicate = _names(text, own), _DUPLICATE.search(text) is not None
    if named and (duplicate or any(_TAKEN.search(each) and _names(each, own) for each in _SENTENCE.split(text))):
        return About.EXISTS
    if _SHARED_TAKEN.search(text):
        return About.EXISTS
    mentioned = named or duplicate or _SHARED_NAME.search(text) or _TAKEN.search(text)
    return About.PERHAPS if mentioned else About.NOTHING


def _plain(text: str) -> str:
    """Return the text in lower case, with words of identifiers apart: `externalTaskId` is `external task id`."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", normalize("NFKC", text))
    return re.sub(r"[\s_\-]+", " ", apart).casefold()


def _names(text: str, job_id: str) -> bool:
    """Return whether the text names the external id, or contains it as a whole word.

    In quotes, if it is only letters or digits.
    """
    if _NAMES.search(text):
        return True
    if not job_id:
        return False
    around = r"[\"'`「“‘]" if job_id.isalpha() or job_id.isdigit() else ""
    after = r"[\"'`」”’]" if around else ""
    return re.search(rf"(?<![a-z0-9~]){around}{re.escape(job_id)}{after}(?![a-z0-9~])", text) is not None


def _texts(body: bytes) -> Iterator[str]:
    reading = None
    with suppress(BodyInvalid):
        reading = read_object(body)
        yield from _strings(reading.members, _DEEPEST)
    if reading is None or not reading.exact:
        # Part of it may be missing.
        yield body[: 4 * _LONGEST].decode("utf-8", "replace")


def _strings(value: Any, depth: int) -> Iterator[str]:
    """Yield the texts of an answer, except those that repeat the request; names whose values are texts, too."""
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, Mapping):
        for name, each in value.items():
            if name in _ECHOES:
                continue
            if name not in _ENVELOPE:
                yield str(name)
            yield from _strings(each, depth - 1)
    elif depth and isinstance(value, list):
        for each in value:
            yield from _strings(each, depth - 1)


#: Members of every error, whose names say nothing.
_ENVELOPE = frozenset(
    {"error", "errors", "detail", "details", "message", "error_message", "msg", "code", "type", "loc", "status", "data",
     "request_id", "requestId", "trace_id", "id", "task_id", "title", "reason", "success", "timestamp", "path"}
)  # fmt: skip
