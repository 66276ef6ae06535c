import re
from pathlib import Path

import pytest

from ops.advisories import LEAST, main, pins, problems
from ops.lock import LOCK


def test_nothing_in_the_lock_is_known_to_be_unsafe(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    assert "known to be unsafe" in capsys.readouterr().out


@pytest.mark.parametrize("name", LEAST)
def test_the_version_before_is_found(name: str, tmp_path: Path) -> None:
    numbers = [int(number) for number in LEAST[name][0].split(".")]
    last = max(place for place, number in enumerate(numbers) if number)
    before = ".".join(map(str, [*numbers[:last], numbers[last] - 1, 99][: last + 2]))
    lock = tmp_path / "requirements.lock"
    lock.write_text("# pins\n" + "".join(f"{each}=={version}\n" for each, version in (pins() | {name: before}).items()))
    (problem,) = problems(pins(lock))
    assert problem.startswith(f"{name} {before} is older than {LEAST[name][0]}: CVE-")


def test_the_least_version_itself_is_good() -> None:
    assert problems({name: version for name, (version, _) in LEAST.items()}) == []


def test_every_pin_is_read() -> None:
    lines = [line for line in LOCK.read_text().splitlines() if "==" in line]
    assert len(pins()) == len(lines) > 50


def test_a_row_for_what_is_gone_is_found() -> None:
    assert problems({}, {"flask": ("1", "x")}) == [
        "flask is not in the lock any more: take its row out of ops/advisories.py"
    ]


def test_each_row_names_an_advisory() -> None:
    assert [name for name, (_, why) in LEAST.items() if not re.search(r"CVE-\d{4}-\d{4,}", why)] == []
