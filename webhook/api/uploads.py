"""Uploads: from the lines of a body to jobs in the store, in chunks."""

from collections.abc import Iterable
from contextlib import suppress

from jobs.errors import ServiceFull, StoreUnavailable, WorkRefused
from jobs.new_job import NewJob
from jobs.store.forecasts import at_cap
from jobs.task_names import SUBMIT
from webhook.access.auth import caller
from webhook.api.enqueue import new_id
from webhook.api.upload_lines import NumberedLine, chunks, jobs_in
from webhook.api.upload_progress import Upload
from webhook.http.problems import REFUSED, ProblemError, unavailable
from webhook.services import Services


def upload(shared: Services, done: Upload, lines: Iterable[NumberedLine]) -> None:
    """Enqueue all valid lines, in chunks, and list the others.

    Raises a problem if Redis fails midway, or if the service is full. What was enqueued stays: the same
    upload again finds its lines known, and continues.
    """
    store, batch = shared.store, done.id
    try:
        # Creates the batch even if every line is bad, and finds out at once whether Redis answers.
        store.jobs.enqueue([], batch, done.options)
        done.join(store.batches.options(batch))
        for chunk in chunks(jobs_in(shared, done, lines, shared.load)):
            jobs = [job for _, job in chunk]
            room = shared.pressure.room(_size(jobs), done.options.owner)
            enqueued = store.jobs.enqueue(jobs, batch, done.options, room=room, caller=caller().owner)
            if enqueued.admit_hint:
                shared.send(SUBMIT)
            if not done.count_all(chunk, enqueued.outcomes):
                raise shared.pressure.refused(
                    f"{done.accepted + done.known:,} jobs of this upload are enqueued. "
                    f"Send the same upload again later with ?id={done.given_id}: it continues where it stopped.",
                    owner=done.options.owner,
                    **done.view(),
                )
        _end(shared, done)
    except WorkRefused as error:
        raise unavailable(REFUSED, **done.view()) from error
    except StoreUnavailable as error:
        raise unavailable(
            f"The job store stopped answering after {done.accepted + done.known:,} jobs. "
            f"Send the same upload again with ?id={done.given_id}: lines that were enqueued make no second job.",
            **done.view(),
        ) from error


def upload_whole(shared: Services, done: Upload, lines: Iterable[NumberedLine]) -> None:
    """Enqueue all lines or none. Raises a problem, 422, that lists the bad lines.

    The store keeps the lines aside as they come (staged), and commits them at the end.
    """
    store, batch, token = shared.store, done.id, new_id()
    try:
        done.join(store.batches.options(batch))
        _stage(shared, token, done, chunks(jobs_in(shared, done, lines, shared.load)))
        staged, done.accepted = done.accepted, 0
        room = shared.pressure.room(0, done.options.owner)
        acted = store.uploads.commit(token, batch, staged, done.options, room=room)
    except ServiceFull as error:
        with suppress(StoreUnavailable):
            store.uploads.discard(token)
        raise shared.pressure.refused(owner=done.options.owner, **done.view()) from error
    except WorkRefused as error:
        raise unavailable(REFUSED, **done.view()) from error
    except StoreUnavailable as error:
        raise unavailable(
            "The job store stopped answering: all lines are enqueued, or none. "
            f"Send them again with ?id={done.given_id}."
        ) from error
    done.accepted = acted.affected
    done.rejected = acted.clashes
    done.known += staged - acted.affected - acted.clashes
    if acted.admit_hint:
        shared.send(SUBMIT)
    try:
        _end(shared, done)
    except StoreUnavailable as error:
        raise unavailable(
            "The job store stopped answering: all lines are enqueued, but a pilot may not have begun. "
            f"Send them again with ?id={done.given_id}."
        ) from error


def _end(shared: Services, done: Upload) -> None:
    """End an upload: begin the pilot of a batch that has one, and warn of a cap that is too low."""
    if done.options.max_cost is not None:
        batch = shared.store.batches.get(done.id)
        done.warnings = tuple(at_cap(batch.max_cost, batch.estimate))
    if done.options.pilot is None:
        return
    begun = shared.store.batches.begin_pilot(done.id, done.pilot_jobs())
    done.pilot = begun.affected
    if begun.admit_hint:
        shared.send(SUBMIT)


def _stage(shared: Services, token: str, done: Upload, parts: Iterable[list[tuple[int, NewJob]]]) -> None:
    store, whole = shared.store, False
    try:
        for chunk in parts:
            if done.rejected:
                continue  # read on only to list the other bad lines
            jobs = [job for _, job in chunk]
            room = shared.pressure.room(_size(jobs), done.options.owner)
            outcomes = store.uploads.stage(token, jobs, room=room, caller=caller().owner)
            if not done.count_all(chunk, outcomes):
                done.accepted = 0
                raise shared.pressure.refused(owner=done.options.owner, **done.view())
        whole = done.rejected == 0
    finally:
        if not whole:
            done.accepted = 0
            with suppress(StoreUnavailable):  # staged lines expire by themselves
                store.uploads.discard(token)
    if not whole:
        raise ProblemError(
            422,
            "Nothing was enqueued, since some lines are refused. Correct them and send all lines again.",
            **done.view(),
        )


def _size(jobs: Iterable[NewJob]) -> int:
    return sum(len(job.text) for job in jobs)
