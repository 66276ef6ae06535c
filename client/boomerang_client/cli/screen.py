"""What all commands share: the settings, the two consoles, the client, and how errors are shown."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.text import Text

from boomerang_client.cli.plain_output import echo
from boomerang_client.client import Client
from boomerang_client.errors import ApiError, BoomerangError
from boomerang_client.safe_console import SafeConsole
from boomerang_client.terminal import clean

# The exit codes, as the help of `boomerang` lists them.
FAILED, USAGE, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass
class Screen:
    """Settings and output of one run. Results go to stdout, everything else to stderr."""

    url: str | None = None
    key: str | None = field(default=None, repr=False)
    as_json: bool = False
    out: Console = field(default_factory=lambda: SafeConsole(sys.stdout))
    err: Console = field(default_factory=lambda: SafeConsole(sys.stderr))

    def client(self, **options: Any) -> Client:
        """Return a client that is closed when the command ends. `options` are those of `Client`."""
        return click.get_current_context().with_resource(Client(self.url, self.key, **options))

    def result(self, text: str | Text) -> None:
        """Print a line of the result, for people. Long lines are not cut."""
        self.out.print(text, soft_wrap=True)

    def result_json(self, view: Mapping[str, Any]) -> None:
        """Print a line of the result, for programs: one JSON object in ASCII."""
        echo(json.dumps(view))

    def message(self, text: str | Text, style: str = "") -> None:
        """Print a line about the result on stderr."""
        self.err.print(text, soft_wrap=True, style=style)

    def next_step(self, *commands: str) -> None:
        """Print on stderr which commands are useful next."""
        if not self.as_json:
            self.message(f"Next: {', or '.join(commands)}", "dim")

    def report_wait(self, error: Exception, seconds: float) -> None:
        """Say that the command waits for the service, and why."""
        self.message(f"{clean(error)} Trying again in {seconds:.0f} s; Ctrl-C stops.", "yellow")

    def report_error(self, error: BoomerangError) -> None:
        """Print an error on stderr, with one line for each field; with --json as one JSON object."""
        refusal = error if isinstance(error, ApiError) else None
        fields = refusal.errors if refusal else {}
        if self.as_json:
            problem: dict[str, Any] = {"error": str(error), "repeat_id": error.repeat_id}
            if error.repeat_command:
                problem["repeat_command"] = error.repeat_command
            if refusal:
                problem |= {"status": refusal.status, "errors": dict(fields), "codes": list(refusal.codes)}
            if error.lines:
                problem["lines"] = [{"line": one.line, "errors": dict(one.errors)} for one in error.lines]
            echo(json.dumps(problem), err=True)
            return
        self.message(f"Error: {clean(error)}", "red")
        if refusal and len(fields) > 1:
            for line in field_lines(fields, refusal.codes):
                self.message(f"  {line}")
        if error.repeat_command:
            self.message(f"To continue: {error.repeat_command}")


def field_lines(errors: Mapping[str, tuple[str, ...]], codes: tuple[str, ...] = ()) -> list[str]:
    """Write each refused field on a line, with what to do. The generation API's codes follow on the last line."""
    lines = [clean(f"{name}: {' '.join(messages)}") for name, messages in errors.items()] or ["refused"]
    return [*lines[:-1], f"{lines[-1]} ({clean(', '.join(codes))})"] if codes else lines
