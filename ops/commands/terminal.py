"""The only place where the commands of `boomerang-server` write plain text to the terminal."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import click

from jobs import plain_text


def echo(text: str = "", *, err: bool = False) -> None:
    """Print a text of one or several lines. Text from outside that a terminal might obey is escaped."""
    click.echo(plain_text.lines(text), err=err)


@contextmanager
def safe_errors() -> Iterator[None]:
    """Escape the message of an error that click prints: it quotes arguments and names of files."""
    try:
        yield
    except click.ClickException as error:
        text = plain_text.lines(error.format_message())
        error.format_message = lambda: text  # type: ignore[method-assign]
        raise


def escape_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an uncaught error. For use as `sys.excepthook`."""
    text = "".join(traceback.format_exception(kind, error, trace))
    click.echo(plain_text.lines(text), err=True, nl=False)
