"""Search by exact names: the job's id, an attempt's external id, and the provider's task id."""

import pytest

from jobs.result import Result
from jobs.states import State
from tests.support.bench import Bench


@pytest.fixture
def fox(bench: Bench) -> Bench:
    bench.job("fox@shop", owner="shop")
    bench.job("fox@other", owner="other")
    bench.raw.sadd(bench.keys.singleton("producers"), "shop", "other")
    return bench


@pytest.mark.parametrize("text", ["fox", "fox@shop", "fox~2", "fox@shop~3", " fox "])
def test_ids_of_the_job_and_of_its_attempts(fox: Bench, text: str) -> None:
    assert fox.store.search.find(text, "shop") == ("fox@shop",)


def test_an_administrator_finds_those_of_all_producers(fox: Bench) -> None:
    assert set(fox.store.search.find("fox", None)) == {"fox@shop", "fox@other"}
    assert fox.store.search.find("fox@other", None) == ("fox@other",)


@pytest.mark.parametrize("text", ["", "fo", "fox@", "fox@other", "*", "x" * 9999, "\ud800", "fox\n~2", "{b}:j:fox"])
def test_what_names_no_job_finds_none(fox: Bench, text: str) -> None:
    assert fox.store.search.find(text, "shop") == ()


def test_the_providers_task_id_finds_its_job_until_the_job_is_forgotten(fox: Bench) -> None:
    find = fox.store.search.find
    claim = fox.claimed("fox@shop")
    fox.store.attempts.mark_in_progress("fox@shop", claim.fence, "task-1")
    assert find("task-1", "shop") == find("task-1", None) == ("fox@shop",)
    assert find("task-1", "other") == ()
    fox.store.attempts.finish("fox@shop", State.FAILED, Result(error={"code": "x", "message": "no"}), "poll")
    assert find("task-1", "shop") == ("fox@shop",)

    fox.store.jobs.retry("fox@shop")
    assert find("task-1", "shop") == ()
    claim = fox.claimed("fox@shop")
    fox.store.attempts.mark_in_progress("fox@shop", claim.fence, "task-2")
    fox.store.attempts.finish(claim.external_task_id, State.COMPLETED, Result(), "poll")
    assert find("task-2", "shop") == ("fox@shop",)

    fox.forward(100 * 86_400)
    fox.store.jobs.purge()
    assert find("task-2", "shop") == ()
    assert not fox.raw.keys("{b}:ti:*")
    assert fox.audit() == []


def test_a_damaged_index_stops_no_job(fox: Bench) -> None:
    claim = fox.claimed("fox@shop")
    fox.store.attempts.mark_in_progress("fox@shop", claim.fence, "task-1")
    (key,) = fox.raw.keys("{b}:ti:*")
    fox.raw.set(key, "text")

    fox.store.attempts.finish("fox@shop", State.FAILED, Result(error={"code": "x", "message": "no"}), "poll")
    fox.store.jobs.retry("fox@shop")

    assert fox.store.jobs.get("fox@shop").state is State.QUEUED
