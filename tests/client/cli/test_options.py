"""The values of options."""

import pytest

from boomerang_client.cli.options import seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("7d", 604800), ("soon", None), ("", None)],
)
def test_durations_are_parsed(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds
