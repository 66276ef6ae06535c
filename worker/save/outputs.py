"""Save all outputs of a job, or none: fetch and check each, then store them, and at last the job's sidecar.

It is safe to repeat at any point. Until the sidecar exists, a repeat stores the outputs again under the same names;
once it exists, a repeat reads it. What a failed try fetched is kept, so that the next one fetches only the rest.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256

from jobs.blobs.blob import Draft
from jobs.blobs.bucket import Bucket
from jobs.blobs.full_disk import describe
from jobs.errors import JobNotFound, ResultsUnavailable
from jobs.job import Job
from jobs.results.names import Template, another_name, sidecar_name
from jobs.results.sidecar import CONTENT_TYPE, saved_by, write_sidecar
from jobs.saved import Saved, SavedOutput
from jobs.store.saves import LONGEST_WHY
from jobs.store.store import Store
from schemas.media import MediaFile, MediaInvalid
from worker.errors import SaveFailed
from worker.http.download import Downloader
from worker.http.transfer import Body, Bounds
from worker.save.fetch import check, fetch
from worker.save.kept import KeptOutputs
from worker.settings import Settings

#: Seconds after a result came in which an output that the provider's servers do not know may still appear; also between
#: the first and the second answer that it does not exist.
VISIBLE_AFTER = 120.0


@dataclass(frozen=True, slots=True)
class _Fetched:
    draft: Draft
    output: SavedOutput
    was_kept: bool


def open_output_saver(store: Store, results: Bucket, settings: Settings) -> "OutputSaver":
    """Return a saver of these settings."""
    downloader = Downloader(
        Bounds(settings.result_max_size, settings.result_min_rate),
        private_hosts=settings.allow_private_hosts,
        proxy=settings.provider_proxy,
        ca=settings.provider_ca,
    )

    def text_of(job_id: str) -> str | None:
        try:
            return store.jobs.get(job_id, text=True).text
        except JobNotFound:
            return None

    template = Template.parse(settings.result_names)
    return OutputSaver(results, downloader, template, text_of=text_of, note=store.manifests.note)


class OutputSaver:
    """Saves outputs to the result store; several threads may share it. `now` tells the time of day.

    `text_of` reads the request of a job; `note` gets each batch whose manifest is out of date.
    """

    def __init__(
        self,
        results: Bucket,
        downloader: Downloader,
        template: Template,
        *,
        text_of: Callable[[str], str | None] = lambda _: None,
        note: Callable[[str], None] = lambda _: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._results = results
        self._downloader = downloader
        self._template = template
        self._text_of = text_of
        self._note = note
        self._now = now
        self._kept = KeptOutputs(results)

    def save_outputs(
        self, job: Job, batch_labels: Mapping[str, str], alive: Callable[[], None] = lambda: None
    ) -> Saved:
        """Save the outputs of a completed job, which needs its result. Raises `SaveFailed`.

        `alive` is called whenever something has come.
        """
        try:
            saved = self._save(job, {**batch_labels, **job.labels}, alive)
        except ResultsUnavailable as error:
            raise SaveFailed(str(error)) from error
        except OSError as error:
            raise SaveFailed(f"it cannot be written here: {describe(error)}") from error
        if job.batch:
            # Before the save is recorded: it is repeated if this worker is killed here.
            self._note(job.batch)
        return saved

    def _save(self, job: Job, labels: Mapping[str, str], alive: Callable[[], None]) -> Saved:
        self._results.mark()
        sidecar = sidecar_name(job)
        before = self._results.read(sidecar)
        if before is not None and (saved := saved_by(job, before)) and self._is_complete(saved):
            return saved
        with ExitStack() as drafts:
            fetched = self._fetch_all(job, labels, drafts, alive)
            try:
                outputs = tuple(self._store(each, alive) for each in fetched)
            except ResultsUnavailable:
                self._keep(job, fetched)
                raise
        saved = Saved(self._now(), outputs)
        if before is not None and saved_by(job, before) is None:
            # It is of an earlier job with the same id, whose outputs are still there.
            self._results.write(another_name(sidecar, sha256(before).hexdigest()), before, CONTENT_TYPE)
        described = replace(job, text=job.text or self._text_of(job.id))
        self._results.write(sidecar, write_sidecar(described, saved, labels), CONTENT_TYPE)
        self._kept.forget(job, [index for index, each in enumerate(fetched) if each.was_kept])
        return saved

    def _fetch_all(
        self, job: Job, labels: Mapping[str, str], drafts: ExitStack, alive: Callable[[], None]
    ) -> list[_Fetched]:
        """Fetch all outputs. Those that are fetched before one fails are kept for the next try."""
        fetched: list[_Fetched] = []
        try:
            for index in range(len(job.result.output) if job.result else 0):
                draft = drafts.enter_context(self._results.draft())
                fetched.append(self._load(job, index, labels, draft) or self._fetch(job, index, labels, draft, alive))
        except SaveFailed as error:
            if error.final:
                self._kept.forget(job, [index for index, each in enumerate(fetched) if each.was_kept])
                raise
            self._keep(job, fetched)
            raise
        return fetched

    def _keep(self, job: Job, fetched: list[_Fetched]) -> None:
        for index, each in enumerate(fetched):
            if not each.was_kept and not self._kept.keep(job, index, each.draft):
                return

    def _load(self, job: Job, index: int, labels: Mapping[str, str], draft: Draft) -> _Fetched | None:
        """Take an output that an earlier try kept."""
        body = self._kept.load(job, index, draft)
        if body is None:
            return None
        try:
            return _Fetched(draft, self._output(job, index, labels, body, check(draft, body)), was_kept=True)
        except MediaInvalid:
            # Somebody changed it.
            draft.file.seek(0)
            draft.file.truncate()
            return None

    def _fetch(
        self, job: Job, index: int, labels: Mapping[str, str], draft: Draft, alive: Callable[[], None]
    ) -> _Fetched:
        assert job.result is not None  # noqa: S101 - it has outputs
        try:
            body, file = fetch(self._downloader, job.result.output[index]["url"], draft, alive)
        except SaveFailed as error:
            if not error.final:
                raise
            since = (job.save.since if job.save else None) or job.ended_at
            if since and (self._now() - since).total_seconds() < VISIBLE_AFTER:
                raise SaveFailed(error.why, retry_after=error.retry_after) from error
            if job.save and job.save.error != error.why[:LONGEST_WHY]:
                # One server of many may be wrong. A second answer decides.
                raise SaveFailed(error.why, retry_after=max(error.retry_after, VISIBLE_AFTER)) from error
            raise
        return _Fetched(draft, self._output(job, index, labels, body, file), was_kept=False)

    def _output(self, job: Job, index: int, labels: Mapping[str, str], body: Body, file: MediaFile) -> SavedOutput:
        name = self._template.name(job, index, file.media.extension, body.sha256, labels)
        return SavedOutput(
            name=name,
            sha256=body.sha256,
            size=body.size,
            content_type=file.media.content_type,
            width=file.width,
            height=file.height,
        )

    def _store(self, fetched: _Fetched, alive: Callable[[], None]) -> SavedOutput:
        """Store an output. An object with other bytes is never replaced: it is of an earlier job with the same id."""
        alive()
        output = fetched.output
        there = self._results.info(output.name)
        if there and (there.size != output.size or self._hash_of(output) != output.sha256):
            output = replace(output, name=another_name(output.name, output.sha256))
        self._results.put(fetched.draft, output.name, output.content_type)
        return output

    def _is_complete(self, saved: Saved) -> bool:
        found = ((each, self._results.info(each.name)) for each in saved.outputs)
        return all(there is not None and there.size == each.size for each, there in found)

    def _hash_of(self, output: SavedOutput) -> str:
        digest = sha256()
        for piece in self._results.stream(output.name, 0, output.size):
            digest.update(piece)
        return digest.hexdigest()
