"""Run the command `boomerang` in this process."""

import re
from collections.abc import Mapping

from click.testing import CliRunner, Result

from boomerang_client.cli import main

_STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def without_styles(text: str) -> str:
    """Return the text without colours and cursor movements."""
    return _STYLE.sub("", text)


class Command:
    """`command("watch", "b").stdout`: what the command printed. `env` adds environment variables."""

    def __call__(self, *args: str, env: Mapping[str, str] | None = None, input: str | bytes | None = None) -> Result:  # noqa: A002
        return CliRunner().invoke(main, args, env=env, input=input, catch_exceptions=False, color=True)
