"""The text of messages to people."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from jobs.notices import Notice, NoticeClass

#: Notices in one message. The others of the same time are only counted.
MOST = 20
_TITLES = {
    NoticeClass.BATCH_DONE: "batch {} is done",
    NoticeClass.BATCH_PAUSED: "batch {} is paused",
    NoticeClass.BATCH_WAITS: "batch {} waits for you",
    NoticeClass.BATCH_FORGOTTEN: "batch {} is still paused",
    NoticeClass.CAP_REACHED: "budget of {} is used up",
    NoticeClass.PROVIDER_AWAY: "provider {} is away",
    NoticeClass.RECEIVER_DISABLED: "receiver {} is disabled",
}
_OF_BATCHES = {
    NoticeClass.BATCH_DONE,
    NoticeClass.BATCH_PAUSED,
    NoticeClass.BATCH_WAITS,
    NoticeClass.BATCH_FORGOTTEN,
}


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent to one target."""

    title: str
    body: str


def compose(notices: Sequence[Notice], public_url: str | None) -> Message:
    """Join notices into one message. `public_url`: of the service, for links."""
    if len(notices) == 1:
        return Message(f"Boomerang: {_title(notices[0])}", _text(notices[0], public_url))
    parts = [_text(each, public_url) for each in notices[:MOST]]
    if len(notices) > MOST:
        parts.append(f"And {len(notices) - MOST} more. Run: boomerang-server stuck")
    return Message(f"Boomerang: {len(notices)} notices", "\n\n".join(parts))


def example(about: NoticeClass, public_url: str | None) -> Message:
    """Return what a test sends."""
    notice = Notice(
        about=about,
        subject="example",
        since=datetime.now(UTC),
        what=f"This is a test of notices of the class {about}. Nothing has happened.",
        do="Nothing. Real notices look like this one.",
    )
    return compose([notice], public_url)


def _title(notice: Notice) -> str:
    return _TITLES[notice.about].format(notice.subject.rpartition("|")[2] or "callers without a key")


def _text(notice: Notice, public_url: str | None) -> str:
    since = f"Since: {notice.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    lines = [notice.what, since, f"What to do: {notice.do}"]
    if public_url and notice.about in _OF_BATCHES:
        lines.append(f"{public_url.rstrip('/')}/v1/batches/{quote(notice.subject, safe='@')}")
    elif public_url:
        lines.append(public_url)
    return "\n".join(lines)
