"""The contact sheet: a page with each job's prompt, its images, and how it ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from boomerang_client import Job, Status
from ops.demo.demo_jobs import DemoJob
from ops.demo.images import SavedImage
from ops.demo.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Card:
    """One job on the page."""

    demo_job: DemoJob
    job: Job
    images: Sequence[SavedImage]
    references: Sequence[str]

    @property
    def kind(self) -> str:
        """How the job ended: the value by which the page filters."""
        if self.job.status is not Status.COMPLETED:
            return "failed"
        return {"callback": "callback", "poll": "polling"}.get(self.job.settled_by or "", "otherwise")

    @property
    def retried(self) -> bool:
        """Whether the job needed more than one attempt."""
        return self.job.attempt > 1

    @property
    def seconds(self) -> float | None:
        """Seconds from its acceptance to its end."""
        if self.job.finished_at is None or self.job.created_at is None:
            return None
        return (self.job.finished_at - self.job.created_at).total_seconds()


def write(folder: Path, cards: Sequence[Card], verdict: Verdict) -> Path:
    """Write `index.html` into the folder that has the images, and return its path."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    kinds: Mapping[str, int] = {
        **{kind: sum(card.kind == kind for card in cards) for kind in ("callback", "polling", "otherwise", "failed")},
        "retried": sum(card.retried for card in cards),
    }
    page = environment.get_template("sheet.html").render(cards=cards, verdict=verdict, kinds=kinds)
    target = folder / "index.html"
    target.write_text(page, encoding="utf-8")
    return target
