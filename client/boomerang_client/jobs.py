"""The client's calls about single jobs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from boomerang_client.connection import Connection, Query, label_params, moment, part, present, repeatable_as
from boomerang_client.errors import Conflict, NoOutput, NotSaved, StillRunning
from boomerang_client.ids import new_id
from boomerang_client.image_uploads import resolve
from boomerang_client.parsing import read_job, read_list
from boomerang_client.records import Job, Status
from boomerang_client.responses import Saved
from boomerang_client.retrying import PATIENCE, Steady
from boomerang_client.saving import AT_ONCE, Saver, make_folder

LONG_POLL_MAX = 60.0  # the service's limit of ?wait=
PAGE = 500  # the service's limit of ?limit=

#: A picture for a request: a local file, its content, or what the API itself takes (a URL, base64, `image:sha256:…`).
Image: TypeAlias = Path | bytes | str


class Jobs(Connection):
    """Calls about jobs."""

    def generate(
        self,
        *,
        model: str,
        prompt: str | None = None,
        image_list: Sequence[Image] | None = None,
        subject_image_list: Sequence[Image] | None = None,
        scene_image: Image | None = None,
        style_image: Image | None = None,
        n: int | None = None,
        resolution: str | None = None,
        aspect_ratio: str | None = None,
        labels: Mapping[str, str] | None = None,
        priority: str | None = None,
        expires_in: int | None = None,
        external_task_id: str | None = None,
        **more: Any,
    ) -> Job:
        """Enqueue one job, by the names of the generation request; what is left out is not sent.

        Local files are held to the API's rules (png or jpeg, at most 10 MB, 300 px a side, 1:2.5 to 2.5:1) before
        anything is sent, and each is uploaded once, however often it is used. `expires_in`: whole seconds after
        which the job ends unpaid if it has not begun. Raises what `enqueue` raises.
        """
        known = {
            "model": model, "prompt": prompt, "image_list": image_list, "subject_image_list": subject_image_list,
            "scene_image": scene_image, "style_image": style_image, "n": n, "resolution": resolution,
            "aspect_ratio": aspect_ratio, "labels": labels, "priority": priority, "expires_in": expires_in,
            "external_task_id": external_task_id,
        }  # fmt: skip
        return self.enqueue({name: value for name, value in known.items() if value is not None} | more)

    def enqueue(self, request: Mapping[str, Any]) -> Job:
        """Enqueue one job: `request` is the generation request as documented (`model`, `prompt`, …).

        Beside that it takes our `labels`, `priority` and `expires_in`, and in the place of a picture a Path or bytes.
        Without an `external_task_id` one is made here, so that the repeats of this call meet the same job. Raises
        PicturesRefused; Invalid; Conflict when the id belongs to another request. An error with a `repeat_id` leaves
        the outcome open.
        """
        named = dict(request)
        if named.get("external_task_id") is None:
            named["external_task_id"] = new_id()
        ready = resolve(named, self._pictures.reference)
        with repeatable_as(str(named["external_task_id"])):
            return read_job(self._transport.post("/v1/jobs", ready), self)

    def job(self, id: str, wait: float | None = None) -> Job:  # noqa: A002 -- the API's own word
        """The job; with `wait` (seconds, 60 at most) the service answers when it is final or the time is over.

        Raises NotFound.
        """
        params = None if wait is None else {"wait": round(min(max(wait, 0), self._long_poll), 3)}
        return read_job(self._transport.get(f"/v1/jobs/{part(id)}", params), self)

    def jobs(
        self,
        status: Status | str | None = None,
        batch: str | None = None,
        limit: int | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> Iterator[Job]:
        """Jobs in the service's order, page by page as you iterate; at most `limit` in all."""
        params = present(
            status=None if status is None else str(status),
            batch=batch,
            label=label_params(labels),
            created_after=moment(created_after),
            created_before=moment(created_before),
        )
        views = self._listed("/v1/jobs", "jobs", params, limit)
        return (read_job(view, self) for view in views)

    def cancel(self, id: str) -> Job:  # noqa: A002
        """Give the job up; what the provider has begun may still cost. A cancelled job stays as it is.

        Raises NotFound; Conflict when the job has ended otherwise.
        """
        try:
            return read_job(self._transport.post(f"/v1/jobs/{part(id)}/cancel"), self)
        except Conflict:
            # The repeat of a cancel whose answer was lost is refused; what it asked for has happened.
            job = self.job(id)
            if job.status is Status.CANCELLED:
                return job
            raise

    def pause_job(self, id: str) -> Job:  # noqa: A002
        """Keep a job that waits from being sent, until it is resumed. Raises NotFound; Conflict if it does not wait."""
        return read_job(self._transport.post(f"/v1/jobs/{part(id)}/pause"), self)

    def resume_job(self, id: str) -> Job:  # noqa: A002
        """Let a paused job go on, at its old place. Raises NotFound; Conflict if it does not wait."""
        return read_job(self._transport.post(f"/v1/jobs/{part(id)}/resume"), self)

    def retry(self, id: str) -> Job:  # noqa: A002
        """Try a job that ended without a result once more. Raises NotFound, Conflict (not allowed now).

        The one call that is not repeated by itself: after ServiceUnavailable look at the job (`Client.job`) first; if
        it is not final or its `attempt` has risen, the retry was taken in.
        """
        return read_job(self._transport.post(f"/v1/jobs/{part(id)}/retry"), self)

    def wait_for_job(self, job: Job, timeout: float | None = None) -> Job:
        """See `Job.wait`."""
        end = None if timeout is None else self._clock() + timeout
        # The job came from the service, so its address is right; a restart is sat out.
        steady = Steady(PATIENCE if timeout is None else min(timeout, PATIENCE), self._clock, self._sleep, reached=True)
        while True:
            began = self._clock()
            left = self._long_poll if end is None else max(end - began, 0)
            seen = steady(partial(self.job, job.id, wait=left))
            if seen.status.final:
                return seen
            now = self._clock()
            if end is not None and now >= end:
                raise StillRunning(
                    f"Job {job.id} is {seen.status} after {timeout} s. It goes on: wait again, or later."
                )
            # A service that answers early (it restarts, or cannot wait) is not asked more than once a second.
            self._sleep(max(0, min(1 - (now - began), 1 if end is None else end - now)))

    def save(self, jobs: Iterable[Job], folder: Path | str = ".", at_once: int = AT_ONCE) -> Iterator[Saved]:
        """Fetch the images of the jobs, `at_once` at the same time, as you iterate; jobs without any are passed over.

        Files are `<id>-<number>.<kind>`, with "+" for each ":" of an id. Each is whole or not there, and what is there
        is not fetched again, so it may be repeated. One that cannot be had is told by `Saved.error`, and the others go
        on. Raises NotSaved where the folder cannot be made.
        """
        saver = Saver(folder, at_once)
        try:
            yield from saver.save(jobs)
        finally:
            saver.close()

    def save_job(self, job: Job, folder: Path | str) -> list[Path]:
        """See `Job.save`."""
        if not job.output:
            why = f": {job.error.code} {job.error.message}" if job.error else ""
            raise NoOutput(f"Job {job.id} is {job.status} and has no images{why}.")
        folder = Path(folder)
        make_folder(folder)
        saver = Saver(folder)
        paths = []
        try:
            for index in range(len(job.output)):
                saved = saver.one(job, index)
                if saved.path is None:
                    raise NotSaved(saved.error)
                paths.append(saved.path)
        finally:
            saver.close()
        return paths

    @property
    def _long_poll(self) -> float:
        # The service must get to answer before our own read time-out ends the call.
        return max(0.0, min(LONG_POLL_MAX, self._transport.timeout[1] - 5))

    def _listed(self, path: str, name: str, params: Query, limit: int | None) -> Iterator[Any]:
        size = PAGE if limit is None else min(PAGE, max(limit, 1))
        return islice(self._pages(path, name, params | {"limit": size}), limit)

    def _pages(self, path: str, name: str, params: Query) -> Iterator[Any]:
        while True:
            page = self._transport.get(path, params)
            yield from read_list(page, name)
            if page.get("cursor") is None:
                return
            params["cursor"] = str(page["cursor"])
