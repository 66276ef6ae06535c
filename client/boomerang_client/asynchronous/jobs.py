"""The client's calls for single jobs."""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from boomerang_client.arguments import attach_repeat_id, label_params, query, to_iso
from boomerang_client.asynchronous.connection import Connection, try_spellings
from boomerang_client.asynchronous.execution import Each
from boomerang_client.asynchronous.image_uploads import resolve_images
from boomerang_client.asynchronous.records import AsyncJob, read_job
from boomerang_client.asynchronous.retrying import PATIENCE, PatientCaller
from boomerang_client.asynchronous.save_all import save_all
from boomerang_client.choices import AspectRatio, FailureClass, Include, JobState, Model, Priority, Resolution
from boomerang_client.errors import Conflict, NoOutput, NotSaved, StillRunning
from boomerang_client.ids import new_id
from boomerang_client.image_folders import Folders
from boomerang_client.record_fields import Status
from boomerang_client.responses import Saved
from boomerang_client.saving import AT_ONCE, Saver

#: Seconds between two calls of `progress` while a job has not ended.
PROGRESS_INTERVAL = 10.0
LONG_POLL_MAX = 60.0  # the service's maximum for ?wait=

#: An image in a request: a local file, its content, or what the API accepts (a URL, base64, `image:sha256:…`).
Image: TypeAlias = Path | bytes | str


class Jobs(Connection):
    """Calls for jobs."""

    async def generate(
        self,
        *,
        model: Model,
        prompt: str | None = None,
        image_list: Sequence[Image] | None = None,
        subject_image_list: Sequence[Image] | None = None,
        scene_image: Image | None = None,
        style_image: Image | None = None,
        n: int | None = None,
        resolution: Resolution | None = None,
        aspect_ratio: AspectRatio | None = None,
        labels: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        priority: Priority | None = None,
        expires_in: int | None = None,
        external_task_id: str | None = None,
        **more: Any,
    ) -> AsyncJob:
        """Enqueue one job. The parameters are the members of the generation request.

        Local images are checked against the API's rules before anything is sent: PNG or JPEG, at most 10 MB, at least
        300 px a side, ratio 1:2.5 to 2.5:1. Each is uploaded once, however often it is used. `expires_in` is a number
        of seconds: a job that has not begun by then ends unpaid. Raises what `enqueue` raises.
        """
        members = {
            "model": model, "prompt": prompt, "image_list": image_list, "subject_image_list": subject_image_list,
            "scene_image": scene_image, "style_image": style_image, "n": n, "resolution": resolution,
            "aspect_ratio": aspect_ratio, "labels": labels, "metadata": metadata, "priority": priority,
            "expires_in": expires_in,
            "external_task_id": external_task_id,
        }  # fmt: skip
        return await self.enqueue({name: value for name, value in members.items() if value is not None} | more)

    async def enqueue(self, request: Mapping[str, Any], *, folder: Folders | None = None) -> AsyncJob:
        """Enqueue one job. `request` is the documented generation request (`model`, `prompt`, …).

        It may also have `labels`, `priority` and `expires_in`. An image may be a Path or bytes; with `folder` also the
        name of a file below it, or below one of several folders. Without an `external_task_id` the client generates
        one, so that repeats of the call find the same job.

        Raises ImagesRefused and Invalid; Conflict when the id belongs to another request. If an error has a
        `repeat_id`, it is unknown whether the job was accepted.
        """
        with_id = dict(request)
        if with_id.get("external_task_id") is None:
            with_id["external_task_id"] = new_id()
        resolved = await resolve_images(with_id, self._images.reference, folder)
        with attach_repeat_id(str(with_id["external_task_id"])):
            return read_job(await self._transport.post("/v1/jobs", resolved), self)

    async def job(
        self,
        id: str,  # noqa: A002 -- the API's name
        wait: float | None = None,
        *,
        include: Iterable[Include] = (),
    ) -> AsyncJob:
        """Return the job. With `wait` (seconds, at most 60) the call returns once it has ended or the time is over.

        `include`: "request" for its request, "revisions" for the earlier ones. Raises NotFound.
        """
        params = query(
            wait=None if wait is None else round(min(max(wait, 0), self._long_poll), 3), include=list(include)
        )
        view = await try_spellings(id, lambda segment: self._transport.get(f"/v1/jobs/{segment}", params))
        return read_job(view, self)

    async def jobs(
        self,
        status: Status | JobState | None = None,
        batch: str | None = None,
        limit: int | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        classes: Iterable[FailureClass] = (),
        include: Iterable[Include] = (),
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        producer: str | None = None,
    ) -> AsyncGenerator[AsyncJob, None]:
        """Yield jobs, newest first; those of a `batch` in input order. At most `limit`.

        `classes`: only failed jobs of these classes of failure (`Job.failure`). `include` is as in `job`.
        `producer` limits an administrator's list to one.

        The iterator requests one page at a time.
        """
        params = query(
            status=None if status is None else str(status),
            batch=batch,
            label=label_params(labels),
            include=list(include),
            created_after=to_iso(created_after),
            created_before=to_iso(created_before),
            producer=producer,
        )
        params |= {"class": list(classes)} if classes else {}
        async for view in self._list("/v1/jobs", "jobs", params, limit):
            yield read_job(view, self)

    async def cancel(self, id: str) -> AsyncJob:  # noqa: A002
        """Cancel the job. If the provider has begun it, it may still cost money. A cancelled job stays cancelled.

        Raises NotFound; Conflict when the job has ended in another way.
        """
        try:
            return await self._change_job(id, "cancel")
        except Conflict:
            # The answer to an earlier cancel may have been lost. The service refuses the second one.
            job = await self.job(id)
            if job.status is Status.CANCELLED:
                return job
            raise

    async def pause_job(self, id: str) -> AsyncJob:  # noqa: A002
        """Keep a queued job from being submitted until it is resumed. Raises NotFound; Conflict if it is not queued."""
        return await self._change_job(id, "pause")

    async def resume_job(self, id: str) -> AsyncJob:  # noqa: A002
        """Continue a paused job, at its old place. Raises NotFound; Conflict if it is not queued."""
        return await self._change_job(id, "resume")

    async def retry(
        self,
        id: str,  # noqa: A002
        request: Mapping[str, Any] | None = None,
        *,
        folder: Folders | None = None,
        key: str | None = None,
    ) -> AsyncJob:
        """Retry a job that ended without a result. Raises NotFound; Conflict when its state does not allow it.

        With a `request`, that is the job's request from now on: its next revision, under the same id. Images may be
        local, as in `enqueue`. A repeat of the call changes nothing; `key`, an Idempotency-Key, makes sure of that even
        after later corrections. Raises also what `enqueue` raises.

        Without a `request` the client does not repeat this call by itself. After ServiceUnavailable check the job first
        (`Client.job`): if it has not ended, or its `attempt` has risen, the service accepted the retry.
        """
        if request is None:
            return await self._change_job(id, "retry")
        resolved = await resolve_images(dict(request), self._images.reference, folder)
        post = self._transport.post
        return read_job(await try_spellings(id, lambda each: post(f"/v1/jobs/{each}/retry", resolved, key=key)), self)

    async def wait_for_job(
        self, job: AsyncJob, timeout: float | None = None, progress: Callable[[AsyncJob], None] | None = None
    ) -> AsyncJob:
        """Wait for a job. See `Job.wait`."""
        at_once = self._long_poll if progress is None else min(self._long_poll, PROGRESS_INTERVAL)
        end = None if timeout is None else self._clock() + timeout
        # The job came from this service, so the URL is right, and a failure can only be temporary.
        patience = PATIENCE if timeout is None else min(timeout, PATIENCE)
        caller = PatientCaller(patience, self._clock, self._sleep, reached=True)
        while True:
            began = self._clock()
            left = at_once if end is None else max(min(end - began, at_once), 0)
            seen = await caller(partial(self.job, job.id, wait=left))
            if seen.status.final:
                return seen
            now = self._clock()
            if end is not None and now >= end:
                why = f" ({seen.reason})" if seen.reason else ""
                raise StillRunning(
                    f"Job {job.id} is {seen.status.words} after {timeout} s{why}. It continues: wait again, or check "
                    "later."
                )
            if progress is not None:
                progress(seen)
            # The service may answer early, for instance when it restarts. Ask at most once a second.
            await self._sleep(max(0, min(1 - (now - began), 1 if end is None else end - now)))

    async def save(
        self, jobs: Each[AsyncJob], folder: Path | str = ".", at_once: int = AT_ONCE
    ) -> AsyncGenerator[Saved, None]:
        """Download the images of the jobs as you iterate, `at_once` at the same time. Skips jobs without images.

        Files are named `<id>-<number>.<kind>`, with "+" for each ":" of an id. A file is complete or does not exist,
        and a file that exists is not downloaded again, so you may repeat the call. An image that the service has saved
        comes from there: a download that breaks is continued, also by the next call, and its SHA-256 is checked.
        Others come from the generation API. An image that cannot be downloaded does not stop the others:
        `Saved.error` says why. Raises NotSaved when the folder cannot be created, and when the disk is full: that ends
        the other downloads, too. What has been saved stays; free some space and repeat the call.
        """
        private_hosts = await self._may_call_private_hosts()
        saver = Saver(folder, at_once, transport=self._transport.in_threads(), private_hosts=private_hosts)
        async with aclosing(save_all(saver, jobs, at_once)) as files:
            async for saved in files:
                yield saved

    async def save_job(self, job: AsyncJob, folder: Path | str) -> list[Path]:
        """Save the images of a job. See `Job.save`."""
        if not job.output:
            why = f": {job.error.code} {job.error.message}" if job.error else ""
            raise NoOutput(f"Job {job.id} is {job.status.words} and has no images{why}.")
        private_hosts = await self._may_call_private_hosts()
        saver = Saver(folder, transport=self._transport.in_threads(), private_hosts=private_hosts)
        async with aclosing(save_all(saver, [job], AT_ONCE)) as files:
            saved = [one async for one in files]
        saved.sort(key=lambda one: one.index)
        paths = [one.path for one in saved if one.path is not None]
        if len(paths) < len(saved):
            raise NotSaved(next(one.error for one in saved if one.path is None))
        return paths

    async def _change_job(self, id_: str, action: str) -> AsyncJob:
        post = self._transport.post
        return read_job(await try_spellings(id_, lambda segment: post(f"/v1/jobs/{segment}/{action}")), self)

    @property
    def _long_poll(self) -> float:
        # The service must answer before our read time-out ends the call.
        return max(0.0, min(LONG_POLL_MAX, self._transport.timeout[1] - 5))
