"""Write the client without asyncio from the client for asyncio, so that both follow the same rules. `make client`.

Unasync (the tool of Elastic's client) removes `async` and `await` and renames what belongs to them. What differs beyond
that is written by hand twice: how each client waits (`execution`), and how it sends requests (`transport`, `sending`).
"""

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from unasync import Rule, unasync_files

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "client" / "boomerang_client"
SOURCE = CLIENT / "asynchronous"
#: Modules that are written by hand on both sides.
BY_HAND = frozenset({"__init__.py", "execution.py", "sending.py", "spooling.py", "transport.py"})
#: Names that unasync does not know by itself.
RENAMED = {
    "AsyncBatch": "Batch",
    "AsyncBatchService": "BatchService",
    "AsyncClient": "Client",
    "AsyncJob": "Job",
    "AsyncJobService": "JobService",
    "AsyncLines": "Lines",
    "aclosing": "closing",
}
HEADER = "# Written by `make client`, from asynchronous/{name}. Do not edit.\n"


def generated() -> Mapping[Path, str]:
    """Return the modules of the client without asyncio, with their text."""
    with tempfile.TemporaryDirectory(prefix="boomerang-client-") as folder:
        given, made = Path(folder, "asynchronous"), Path(folder, "boomerang_client")
        given.mkdir()
        for path in sorted(SOURCE.glob("*.py")):
            if path.name not in BY_HAND:
                (given / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
        unasync_files([str(path) for path in given.iterdir()], [Rule(f"{given}/", f"{made}/", RENAMED)])
        for path in made.iterdir():
            text = path.read_text(encoding="utf-8").replace("boomerang_client.asynchronous", "boomerang_client")
            path.write_text(HEADER.format(name=path.name) + text, encoding="utf-8")
        for command in (
            ["check", "--quiet", "--select", "I,F401,UP028,C416", "--fix", "--unsafe-fixes"],
            ["format", "--quiet"],
        ):
            settings = ["--config", str(ROOT / "client" / "pyproject.toml")]
            subprocess.run([sys.executable, "-m", "ruff", *command, *settings, str(made)], check=True)  # noqa: S603 -- our own arguments
        return {CLIENT / path.name: path.read_text(encoding="utf-8") for path in sorted(made.iterdir())}


def main() -> None:
    """Write the modules."""
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
