"""The contact sheet: one page that shows what was asked for, what came, and how it came."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from boomerang_client import Job, Status
from ops.demo.orders import Order
from ops.demo.pictures import Picture
from ops.demo.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Card:
    """One job on the page."""

    order: Order
    job: Job
    pictures: Sequence[Picture]
    references: Sequence[str]

    @property
    def kind(self) -> str:
        """How it ended, in the words by which the page filters."""
        if self.job.status is not Status.COMPLETED:
            return "failed"
        return {"callback": "callback", "poll": "polling"}.get(self.job.settled_by or "", "otherwise")

    @property
    def again(self) -> bool:
        """Whether it took more than one attempt."""
        return self.job.attempt > 1

    @property
    def seconds(self) -> float | None:
        """From its acceptance to its end."""
        if self.job.finished_at is None or self.job.created_at is None:
            return None
        return (self.job.finished_at - self.job.created_at).total_seconds()


def write(folder: Path, cards: Sequence[Card], verdict: Verdict) -> Path:
    """`index.html` in that folder, whose other files it refers to."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    kinds: Mapping[str, int] = {
        **{kind: sum(card.kind == kind for card in cards) for kind in ("callback", "polling", "otherwise", "failed")},
        "again": sum(card.again for card in cards),
    }
    page = environment.get_template("sheet.html").render(cards=cards, verdict=verdict, kinds=kinds)
    target = folder / "index.html"
    target.write_text(page, encoding="utf-8")
    return target
