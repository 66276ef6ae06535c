"""What `boomerang-server up` reports of a stall: when it begins, and when it is over."""

import pytest

from ops.local.stall_watch import Announcer

W, B, S, OK = "no_worker", "beat_away", "stalled", None
ENDED = "works again"


def reported(codes: list[str | None], *, started: bool = True) -> list[tuple[int, str]]:
    """Return what is reported, and when, if these codes are seen at one-second intervals."""
    announcer = Announcer(0.0)
    if started:
        assert announcer.line(None, "", 0.0) is None
    lines = [(at, announcer.line(code, str(code), float(at))) for at, code in enumerate(codes)]
    return [(at, ENDED if line.startswith(ENDED) else line) for at, line in lines if line]


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        pytest.param([OK] * 60, [], id="all is well"),
        pytest.param([W] * 60, [(3, W)], id="once, while it lasts"),
        pytest.param([W] * 20 + [OK] * 20, [(3, W), (23, ENDED)], id="its beginning and its end"),
        pytest.param([W, W, OK] * 20, [], id="short ones are not reported"),
        pytest.param([W] * 5 + [OK, W] * 20 + [OK] * 9, [(3, W), (48, ENDED)], id="nor are short pauses of it"),
        pytest.param([S] * 5 + [B] * 20, [(8, B)], id="the cause, if it is soon known"),
        pytest.param([S] * 20, [(8, S)], id="that it stands still, if it is not"),
        pytest.param([S] * 20 + [B] * 20, [(8, S), (23, B)], id="and the cause later"),
        pytest.param([W] * 9 + [S] * 20 + [B] * 9 + [OK] * 9, [(3, W), (32, B), (41, ENDED)], id="another cause"),
    ],
)
def test_each_trouble_is_reported_once(codes: list[str | None], expected: list[tuple[int, str]]) -> None:
    assert reported(codes) == expected


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        pytest.param([W] * 9 + [OK] * 30, [], id="old signs of life of a stack that starts"),
        pytest.param([W] * 60, [(18, W)], id="a worker that does not start"),
        pytest.param([W] * 9 + [OK] + [W] * 9, [(13, W)], id="one that stops soon"),
    ],
)
def test_a_stack_that_starts_has_time_for_its_first_round(
    codes: list[str | None], expected: list[tuple[int, str]]
) -> None:
    assert reported(codes, started=False) == expected
