"""Work whose result all share who ask at the same time, so that many callers cost no more than one."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedWork(Generic[T]):
    """Work that runs once at a time. A result is never older than the call that gets it. Safe for threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._running = Lock()
        self._next: Future[T] | None = None

    def run(self, work: Callable[[], T]) -> T:
        """Return the result of the next run, or raise its error. Callers that come before it begins share it."""
        with self._lock:
            run, leads = self._next or Future[T](), self._next is None
            self._next = run
        if leads:
            with self._running:
                with self._lock:
                    self._next = None
                try:
                    run.set_result(work())
                except BaseException as error:
                    run.set_exception(error)
                    raise
        return run.result()
