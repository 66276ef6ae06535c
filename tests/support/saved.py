"""Completed jobs whose outputs are saved, as workers save them."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

from jobs.new_job import NewJob
from jobs.producer_ids import owner_in
from jobs.result import Result
from jobs.results.results import open_results
from jobs.saved import Saved, SavedOutput
from jobs.states import State
from jobs.store.store import Store

MODEL = "kirin_image_omni"


class Save(Protocol):
    """The type of fixtures that complete a job and save its outputs, one for each file."""

    def __call__(self, job_id: str, *files: bytes, content_type: str = "image/png", **facts: Any) -> Saved: ...


def saver(store: Store, url: str, source: Callable[[str, int], str] | None = None) -> Save:
    """Return a function that saves to this result store. `source`: the provider's address of an output."""
    bucket = open_results(url)
    saving = Store(store.context.client, replace(store.context.settings, result_store=url))

    def save(job_id: str, *files: bytes, content_type: str = "image/png", **facts: Any) -> Saved:
        finish(saving, job_id, [(source or address)(job_id, number) for number in range(len(files))])
        (due,) = saving.saves.claim(60, 10_000, 1)
        assert due.job.id == job_id
        outputs = []
        for number, data in enumerate(files):
            name = f"{job_id.replace('@', '/')}-{number + 1}.png"
            bucket.write(name, data, content_type)
            digest = hashlib.sha256(data).hexdigest()
            known = {"width": None, "height": None, "size": len(data), **facts}
            outputs.append(SavedOutput(name=name, sha256=digest, content_type=content_type, **known))
        saved = Saved(datetime.now(UTC), tuple(outputs))
        assert saving.saves.saved(due, saved).outcome == "saved"
        return saved

    return save


def address(job_id: str, number: int) -> str:
    """Return an address at a provider that does not exist."""
    return f"https://cdn.example.com/{job_id.partition('@')[0]}-{number}.png"


def finish(store: Store, job_id: str, urls: Sequence[str]) -> None:
    """Complete a job with these results."""
    store.saves.announce()
    text = f'{{"labels":{{}},"model":"{MODEL}","params":{{"prompt":"a fox"}}}}'
    store.jobs.enqueue([NewJob(id=job_id, text=text, model=MODEL, n=max(1, len(urls)), owner=owner_in(job_id) or "")])
    assert job_id in store.attempts.admit(1000).ids
    (claim,) = store.attempts.claim([job_id])
    assert store.attempts.mark_in_progress(job_id, claim.fence, f"task-{job_id}")
    result = Result(output=tuple({"type": "image", "url": url} for url in urls))
    assert store.attempts.finish(job_id, State.COMPLETED, result, "poll").outcome == "finished"
