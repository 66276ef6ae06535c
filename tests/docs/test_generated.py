"""What the pages take from the code is up to date: `make docs` writes it."""

from pathlib import Path

import pytest
from cogapp import Cog

DOCS = Path(__file__).parents[2] / "docs"
#: As the Makefile calls it.
OPTIONS = ("-P", "-p", "from ops import reference")


@pytest.mark.parametrize("page", sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")))
def test_a_page_is_as_the_code_says(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = Cog().main(["cog", "--check", "--diff", *OPTIONS, str(DOCS / page)])
    assert result == 0, capsys.readouterr().out + "\nRun `make docs` and commit what it writes."
