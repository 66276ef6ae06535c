"""Some of everything that a producer can have, with its own texts wherever it gives some."""

import json
from dataclasses import dataclass
from decimal import Decimal

from jobs.audit_trail import Action, Via, bounded
from jobs.bulk import BulkAction
from jobs.job import Delivery
from jobs.job_filter import JobFilter
from jobs.new_job import BatchOptions, NewJob
from jobs.producer_ids import internal_id
from jobs.result import Result
from jobs.review import Verdict
from jobs.states import State
from jobs.store.store import Store


@dataclass(frozen=True)
class Texts:
    """What a producer gives: ids begin with `word`; `text` is a prompt, an error and a note; addresses are below `url`.

    Everything contains the word.
    """

    word: str
    text: str
    label: str
    url: str
    model: str = "kirin_image_omni"


def plain(word: str) -> Texts:
    """Return harmless texts with this word."""
    return Texts(word, f"{word} in a text", f"{word} in a label", f"https://{word}.example/")


def fill(store: Store, owner: str, given: Texts) -> None:
    """Give a producer a batch and a single job, jobs in every state, a review, notifications and a bulk action."""
    batch, labels = internal_id(f"{given.word}-batch", owner), {"shelf": given.label}
    request = json.dumps({"model": given.model, "params": {"prompt": given.text}, "callback_url": f"{given.url}hook"})

    def name(each: str) -> str:
        return internal_id(f"{given.word}-{each}", owner)

    def new(each: str) -> NewJob:
        owed = frozenset({Delivery.NOTIFY})
        return NewJob(id=name(each), text=request, model=given.model, owner=owner, labels=labels, owed=owed)

    options = BatchOptions(owner=owner, labels=labels, callback_url=f"{given.url}events")
    store.jobs.enqueue([new(each) for each in ("done", "failed", "refused", "doubt", "running")], batch, options)
    ids = store.attempts.admit(100).ids
    claims = {claim.id: claim for claim in store.attempts.claim(ids)}
    results = {
        "done": (
            State.COMPLETED,
            Result(output=({"type": "image", "url": f"{given.url}1.png"},), cost=Decimal("0.01")),
        ),
        "failed": (State.FAILED, Result(error={"code": "1301", "message": given.text})),
        "refused": (State.FAILED, Result(error={"code": given.label, "message": given.text})),
    }
    for each in ("done", "failed", "refused", "running"):
        claim = claims[name(each)]
        assert store.attempts.mark_in_progress(claim.id, claim.fence, f"{given.word}-task-{each}")
        if each in results:
            state, result = results[each]
            store.attempts.finish(claim.id, state, result, "callback", fence=claim.fence)
    doubt = claims[name("doubt")]
    assert store.attempts.mark_in_doubt(doubt.id, doubt.fence, given.text)
    store.reviews.review(name("done"), 0, Verdict.REJECTED, note=given.text, by=owner, caller=owner)
    paused = {"job_id": name("done"), "batch_id": batch, "reason": given.text, "lane": given.label}
    store.audit_trail.record(
        Action(
            owner=owner,
            key=given.label,
            by=owner,
            operation="batch_actions.pause",
            via=Via.API,
            status=200,
            request=given.label,
            details=bounded(paused),
        )
    )
    only = JobFilter(labels=labels, owner=owner)
    asked = {"label": [f"shelf:{given.label}"]}
    store.bulks.begin(f"{abs(hash(given.word)):016x}"[:16], BulkAction.PAUSE, only, asked=asked, caller=owner)
    store.jobs.enqueue([new("waiting")])
    store.jobs.enqueue(
        [new("later")], internal_id(f"{given.word}-batch2", owner), BatchOptions(owner=owner, paused=True)
    )
