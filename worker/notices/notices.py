"""Notices to people: which target gets what now, in threads of their own. Submissions and producers wait for none."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor

from jobs.notices import Notice, NoticeClass
from jobs.store.store import Store
from worker.notices.causes import complete, find_notices
from worker.notices.message import Message, compose
from worker.notices.send import NoticeFailed, send
from worker.notices.settings import Target

log = logging.getLogger(__name__)

#: In a message of boomerang.deliver instead of ids: send the notices that are due. It is no id.
NOTICES = "?notices"
#: Messages under way at once, and seconds between two searches.
THREADS, INTERVAL = 4, 15.0


class Notices:
    """Sends notices. A call begins messages and returns; one target has one message under way."""

    def __init__(
        self,
        store: Store,
        targets: Mapping[NoticeClass, Sequence[Target]],
        executor: Executor,
        stopping: threading.Event,
        *,
        public_url: str | None = None,
        send: Callable[[Target, Message], None] = send,
    ) -> None:
        self._store = store
        self._by_target: dict[Target, set[NoticeClass]] = {}
        for about, listed in targets.items():
            for target in listed:
                self._by_target.setdefault(target, set()).add(about)
        self._executor = executor
        self._stopping = stopping
        self._public_url = public_url
        self._send = send
        self._lock = threading.Lock()
        self._under_way: set[Target] = set()

    def __call__(self) -> None:
        """Begin a message to each target for which there are notices."""
        if self._stopping.is_set():
            return
        wanted = set().union(*self._by_target.values())
        found = list(find_notices(self._store, wanted))
        for target, classes in self._by_target.items():
            notices = [each for each in found if each.about in classes]
            if notices and self._begin(target):
                self._executor.submit(self._deliver, target, notices)

    def _begin(self, target: Target) -> bool:
        with self._lock:
            if target in self._under_way:
                return False
            self._under_way.add(target)
            return True

    def _deliver(self, target: Target, notices: Sequence[Notice]) -> None:
        try:
            # Claimed here and not before: a message that waits for a thread must not use up its lease.
            if claimed := self._store.notices.claim(target.name, notices):
                self._send_claimed(target, claimed)
        except Exception:
            # There is no caller to raise to. The lease ends, and they are due again.
            log.exception("notices to %s were not sent, because of an unexpected error", target.label)
        finally:
            with self._lock:
                self._under_way.discard(target)

    def _send_claimed(self, target: Target, claimed: Sequence[Notice]) -> None:
        store = self._store.notices
        texts = [each for each in (complete(self._store, notice) for notice in claimed) if each]
        if texts:
            try:
                self._send(target, compose(texts, self._public_url))
            except NoticeFailed as error:
                log.warning("%d notices to %s failed, repeated in minutes: %s", len(texts), target.label, error)
                store.record_failure(target.name)
                return
            log.info("%d notices sent to %s", len(texts), target.label)
        store.record_sent(target.name, claimed)
