"""The only place where the commands of `boomerang-server` write plain text to the terminal."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import click

from jobs import plain_text


def echo(text: str = "", *, err: bool = False) -> None:
    """Print one line. What a terminal might obey in text from outside is escaped, and so is a line feed."""
    click.echo(plain_text.one_line(text), err=err)


@contextmanager
def safe_errors() -> Iterator[None]:
    """Escape the message of an error that click prints: it quotes arguments, names of files, and ends of logs.

    Further lines of a message are indented.
    """
    try:
        yield
    except click.ClickException as error:
        message = error.format_message()
        if isinstance(error, click.UsageError):
            text = plain_text.one_line(" ".join(message.split()))
        else:
            text = plain_text.lines(message).replace("\n", "\n  ")
        error.format_message = lambda: text  # type: ignore[method-assign]
        raise


def escape_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an uncaught error. For use as `sys.excepthook`."""
    text = "".join(traceback.format_exception(kind, error, trace))
    click.echo(plain_text.lines(text), err=True, nl=False)
