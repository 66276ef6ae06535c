"""The console of `boomerang-server up` and `demo`: rich, but text from outside stays text."""

from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from jobs import plain_text


class SafeConsole(Console):
    """A console that escapes what a terminal might obey, in everything that it draws.

    Markup and emoji codes are off, because text from outside may look like them: style with `style` and `Text`.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        super().__init__(file=file, highlight=False, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render an object into segments. Rich's own control codes are segments of their own."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=plain_text.lines(segment.text))
