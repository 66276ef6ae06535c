"""The ids of an upload in little memory, compared with a dict."""

from hypothesis import given
from hypothesis import strategies as st

from jobs.new_job import Outcome
from webhook.api.seen_ids import SeenIds


@given(st.lists(st.tuples(st.integers(0, 3_000).map(str), st.sampled_from("ab")), max_size=3_000))
def test_it_finds_what_a_dict_finds(rows: list[tuple[str, str]]) -> None:
    seen, known = SeenIds(), dict[str, str]()
    for job_id, text in rows:
        expected = None
        if job_id in known:
            expected = Outcome.KNOWN if known[job_id] == text else Outcome.CONFLICT
        assert seen.add(job_id, text) is expected
        known.setdefault(job_id, text)


def test_it_takes_few_bytes_of_each_id() -> None:
    seen = SeenIds()
    for number in range(50_000):
        assert seen.add(f"order-{number}", "text") is None
    assert seen.size <= 50 * 50_000
