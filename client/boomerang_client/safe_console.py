"""A console of rich that text from outside cannot control. Needs rich, which the extra `cli` installs."""

from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from boomerang_client.terminal import plain


class SafeConsole(Console):
    """A console that draws no character which a terminal might obey, whatever it is given.

    Markup and emoji codes are off, because text from outside may look like them: style with `style` and `Text`.
    """

    def __init__(self, file: TextIO) -> None:
        super().__init__(file=file, highlight=False, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: "ConsoleOptions | None" = None) -> Iterable[Segment]:
        """Render an object into segments. Rich's own control codes are segments of their own."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=plain(segment.text))
