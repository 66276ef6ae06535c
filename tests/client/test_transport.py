"""The transport's pauses between retries."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boomerang_client.request_retries import BACKOFF_MAX, JitteredRetry, pause_before


@pytest.mark.parametrize(("failures", "longest"), [(1, 0.5), (2, 1), (3, 2), (4, 4), (50, BACKOFF_MAX)], ids=str)
def test_waits_are_full_jitter(failures: int, longest: float) -> None:
    retry = JitteredRetry(4, backoff_factor=0.5, history=tuple([None] * failures))  # type: ignore[list-item]
    waits = [retry.get_backoff_time() for _ in range(500)]
    assert 0 <= min(waits) < longest / 4
    assert longest * 3 / 4 < max(waits) <= longest


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7), ("soon", None), (None, None), ("Fri, 01 Jan 1990 00:00:00 GMT", 0)]
)
def test_retry_after_is_parsed(header: str | None, seconds: float | None) -> None:
    response = SimpleNamespace(headers={} if header is None else {"Retry-After": header})
    assert JitteredRetry(4).get_retry_after(response) == seconds


@given(repeat=st.integers(1, 10**6), backoff=st.floats(0, 1000), share=st.floats(0, 1))
def test_a_pause_is_random_up_to_a_doubling_limit(repeat: int, backoff: float, share: float) -> None:
    def uniform(low: float, high: float) -> float:
        return low + share * (high - low)

    pause = pause_before(repeat, backoff, uniform)
    assert 0 <= pause <= min(BACKOFF_MAX, backoff * 2.0 ** min(repeat - 1, 60))
    assert pause <= pause_before(repeat + 1, backoff, uniform) <= BACKOFF_MAX
