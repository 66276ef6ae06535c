"""The generated blocks of the pages are up to date. `make docs` writes them."""

from pathlib import Path

import pytest
from cogapp import Cog

DOCS = Path(__file__).parents[2] / "docs"
#: As in the Makefile.
OPTIONS = ("-P", "-p", "from ops import reference")


@pytest.mark.parametrize("page", sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")))
def test_generated_blocks_are_up_to_date(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = Cog().main(["cog", "--check", "--diff", *OPTIONS, str(DOCS / page)])
    assert result == 0, capsys.readouterr().out + "\nRun `make docs` and commit what it writes."
