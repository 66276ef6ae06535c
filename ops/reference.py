"""Tables of the reference documentation, made from the code. `make docs` writes them into the pages (cog)."""

from collections.abc import Iterable, Sequence

from jobs.setting import Setting, settings_of
from jobs.settings import Settings as SharedSettings
from webhook.settings import Settings as WebhookSettings
from worker.settings import Settings as WorkerSettings

#: The settings of each process, and those that its table leaves out.
_SETTINGS = {
    "shared": (SharedSettings, None),
    "worker": (WorkerSettings, SharedSettings),
    "webhook": (WebhookSettings, SharedSettings),
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def settings(process: str) -> str:
    """The variables of `shared`, `worker` or `webhook`."""
    owner, without = _SETTINGS[process]
    return table(
        ("variable", "default", "meaning, and when to change it"),
        [(f"`{each.variable}`", _default(each), each.meaning) for each in settings_of(owner, without).values()],
    )


def _default(each: Setting) -> str:
    return "unset" if each.default_text is None else f"`{each.default_text}`"
