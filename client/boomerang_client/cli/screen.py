"""What every command shares: the settings, the two consoles, the client."""

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.text import Text

from boomerang_client.client import Client
from boomerang_client.errors import ApiError, BoomerangError

# The exit codes, as the help of `boomerang` lists them.
FAILED, USAGE, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130

Command = TypeVar("Command", bound=Callable[..., Any])

# What a terminal might obey instead of showing: C0 and C1 controls, and the switches of writing direction.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(text: object) -> str:
    """Text from outside, fit for a terminal: on one line, without control characters."""
    return CONTROLS.sub("\N{REPLACEMENT CHARACTER}", " ".join(str(text).split()))


@dataclass
class Screen:
    """Settings and output of one run: results go to stdout, everything about them to stderr."""

    url: str | None = None
    key: str | None = field(default=None, repr=False)
    as_json: bool = False
    out: Console = field(default_factory=lambda: Console(file=sys.stdout, highlight=False))
    err: Console = field(default_factory=lambda: Console(file=sys.stderr, highlight=False))

    def client(self, **options: Any) -> Client:
        """The client, closed when the command ends; `options` as it takes them."""
        return click.get_current_context().with_resource(Client(self.url, self.key, **options))

    def say(self, text: str | Text) -> None:
        """A line of the result, for people."""
        self.out.print(text, soft_wrap=True, markup=False)

    def tell(self, text: str | Text, style: str = "") -> None:
        """A line about the result, on stderr."""
        self.err.print(text, soft_wrap=True, markup=False, style=style)

    def waiting(self, error: Exception, seconds: float) -> None:
        """Say that the service is waited for."""
        self.tell(f"{clean(error)} Trying again in {seconds:.0f} s; Ctrl-C stops.", "yellow")

    def document(self, view: Mapping[str, Any]) -> None:
        """A line of the result, for programs: one JSON object, ASCII only."""
        click.echo(json.dumps(view))

    def failure(self, error: BoomerangError) -> None:
        """An error on stderr, with its fields one a line; as one JSON object with --json."""
        refused = error if isinstance(error, ApiError) else None
        fields = refused.errors if refused else {}
        if self.as_json:
            problem: dict[str, Any] = {"error": str(error), "repeat_id": error.repeat_id}
            if refused:
                problem |= {"status": refused.status, "errors": dict(fields), "codes": list(refused.codes)}
            if error.lines:
                problem["lines"] = [{"line": one.line, "errors": dict(one.errors)} for one in error.lines]
            click.echo(json.dumps(problem), err=True)
            return
        self.tell(f"Error: {clean(error)}", "red")
        if refused and len(fields) > 1:
            for line in field_lines(fields, refused.codes):
                self.tell(f"  {line}")


def field_lines(errors: Mapping[str, tuple[str, ...]], codes: tuple[str, ...] = ()) -> list[str]:
    """The `field: what is wrong and what to do` lines of a refusal, the provider's codes at the end of the last."""
    lines = [clean(f"{name}: {' '.join(messages)}") for name, messages in errors.items()] or ["refused"]
    return [*lines[:-1], f"{lines[-1]} ({clean(', '.join(codes))})"] if codes else lines


def json_option(command: Command) -> Command:
    """`--json`, before or after the command's name."""

    def remember(ctx: click.Context, _param: click.Parameter, value: bool) -> None:  # noqa: FBT001 -- click's call
        screen = ctx.ensure_object(Screen)
        screen.as_json = screen.as_json or value

    return click.option(
        "--json", is_flag=True, expose_value=False, callback=remember, help="JSON, one object a line, instead of text."
    )(command)
