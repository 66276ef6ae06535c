"""What the command prints without rich: lines for programs, and click's and Python's errors."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import click

from boomerang_client.terminal import clean, plain


def echo(text: str, *, err: bool = False) -> None:
    """Print a text. Characters that a terminal might obey are replaced."""
    click.echo(plain(text), err=err)


@contextmanager
def safe_errors() -> Iterator[None]:
    """Clean the message of an error that click prints: it quotes arguments and names of files."""
    try:
        yield
    except click.ClickException as error:
        text = clean(error.format_message())
        error.format_message = lambda: text  # type: ignore[method-assign]
        raise


def print_tracebacks_safely() -> None:
    """Clean the text of uncaught errors from now on."""
    sys.excepthook = _print_traceback


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    click.echo(plain("".join(traceback.format_exception(kind, error, trace))), err=True, nl=False)
