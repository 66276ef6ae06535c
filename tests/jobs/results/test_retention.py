"""Removal of saved results, and the comparison of store and records."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.audit.results import UNDER_WAY, result_findings
from jobs.blobs.bucket import Bucket
from jobs.result import Result
from jobs.results.results import open_results
from jobs.results.retention import Selection, find_expired, remove
from jobs.results.sidecar import saved_by
from jobs.results.thumbnails import thumbnail_names
from jobs.saved import Saved
from jobs.states import State
from jobs.store.store import Store
from tests.support.bench import Bench
from tests.support.saved_jobs import AT, a_job, saved_in

DAY = timedelta(days=1)
BY_CONTENT = "all/{sha256}.{ext}"


@pytest.fixture
def results(tmp_path: Path) -> Bucket:
    return open_results(f"file://{tmp_path}/results")


def prune(results: Bucket, store: Store, **labels: str) -> list[str]:
    """Remove what was saved more than 30 days before AT, long after it."""
    gone = list(find_expired(results, Selection(AT - 30 * DAY, labels)))
    for each in gone:
        remove(results, each, AT.replace(year=2100), "ada", store.saves.removed)
    return sorted(each.job for each in gone)


def names(results: Bucket) -> set[str]:
    return {blob.name for blob in results.list() if not blob.name.endswith(".json")}


def test_results_are_removed_by_age(results: Bucket, store: Store) -> None:
    saved_in(results, a_job("new@shop"), b"1", at=AT - 29 * DAY)
    saved_in(results, a_job("old@shop"), b"2", b"3", at=AT - 31 * DAY)
    assert prune(results, store) == ["old@shop"]
    assert names(results) == {"zoo@shop/new@shop-0.png"}
    sidecar = json.loads(results.read("zoo@shop/old@shop.json") or b"")
    assert sidecar["removed_at"].startswith("2100")
    assert [output["name"] for output in sidecar["outputs"]] == ["zoo@shop/old@shop-0.png", "zoo@shop/old@shop-1.png"]
    assert prune(results, store) == []


def test_results_are_removed_by_all_labels(results: Bucket, store: Store) -> None:
    old = AT - 31 * DAY
    saved_in(results, a_job("both@shop"), b"1", at=old, customer="acme", kind="draft")
    saved_in(results, a_job("one@shop"), b"2", at=old, customer="acme")
    saved_in(results, a_job("none@shop"), b"3", at=old)
    assert prune(results, store, customer="acme", kind="draft") == ["both@shop"]
    assert prune(results, store, customer="acm") == []


def test_a_shared_object_goes_with_its_last_job(results: Bucket, store: Store) -> None:
    old = saved_in(results, a_job("old@shop"), b"same", at=AT - 40 * DAY, template=BY_CONTENT, kind="a")
    saved_in(results, a_job("older@shop"), b"same", at=AT - 40 * DAY, template=BY_CONTENT, kind="b")
    assert prune(results, store, kind="a") == ["old@shop"]
    assert names(results) == {old.outputs[0].name}
    assert prune(results, store) == ["older@shop"]
    assert names(results) == set()


def test_thumbnails_go_with_their_image(results: Bucket, store: Store) -> None:
    old = saved_in(results, a_job("old@shop"), b"1", b"2", at=AT - 31 * DAY)
    new = saved_in(results, a_job("new@shop"), b"3", at=AT - 29 * DAY)
    thumbnails = {
        saved: [name for output in saved.outputs for name in thumbnail_names(output.sha256)] for saved in (old, new)
    }
    for name in (*thumbnails[old][1:], *thumbnails[new]):  # not every size was asked for
        results.write(name, b"small")
    assert prune(results, store) == ["old@shop"]
    assert [name for name in thumbnails[old] if results.info(name)] == []
    assert [name for name in thumbnails[new] if not results.info(name)] == []


@pytest.mark.parametrize("sha256", [None, 5, "", "../../marker", "A" * 64, "a" * 63])
def test_a_sidecar_with_another_hash_removes_no_other_file(sha256: object, results: Bucket, store: Store) -> None:
    saved_in(results, a_job("old@shop"), b"1", at=AT - 31 * DAY)
    body = json.loads(results.read("zoo@shop/old@shop.json") or b"")
    body["outputs"][0]["sha256"] = sha256
    results.write("zoo@shop/old@shop.json", json.dumps(body).encode())
    (expired,) = find_expired(results, Selection(AT - 30 * DAY, {}))
    assert (len(expired.names), expired.thumbnails) == (1, ())


def test_an_object_that_was_written_meanwhile_stays(results: Bucket, store: Store) -> None:
    saved = saved_in(results, a_job("old@shop"), b"same", at=AT - 40 * DAY, template=BY_CONTENT)
    (expired,) = find_expired(results, Selection(AT, {}))
    remove(results, expired, AT.replace(year=2000), "ada", store.saves.removed)
    assert names(results) == {saved.outputs[0].name}


@pytest.mark.parametrize("by", ["a newer job with the same id", "the same job, saved again"])
def test_what_was_saved_anew_since_it_was_found_stays(results: Bucket, store: Store, by: str) -> None:
    saved_in(results, a_job("old@shop"), b"1", at=AT - 40 * DAY)
    (expired,) = find_expired(results, Selection(AT, {}))
    newer = replace(a_job("old@shop"), created_at=AT + DAY if by.startswith("a newer") else AT)
    saved_in(results, newer, b"2", at=AT)
    before = results.read(expired.sidecar)
    assert not remove(results, expired, AT.replace(year=2100), "ada", store.saves.removed)
    assert results.read(expired.sidecar) == before
    assert names(results) == {"zoo@shop/old@shop-0.png"}


@pytest.mark.parametrize("name", ["../precious.txt", "{}/precious.txt", "a/../../precious.txt", "a//x", ""])
def test_nothing_outside_the_store_is_removed_or_saved(
    results: Bucket, store: Store, tmp_path: Path, name: str
) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("of an operator")
    job = a_job("old@shop")
    saved_in(results, job, b"1", at=AT - 40 * DAY)
    sidecar = "zoo@shop/old@shop.json"
    body = json.loads(results.read(sidecar) or b"")
    data = json.dumps(body).encode()
    body["outputs"][0]["name"] = name.format(tmp_path)
    results.write(sidecar, json.dumps(body).encode())
    prune(results, store)
    results.remove([name.format(tmp_path)])
    assert results.read(name.format(tmp_path)) is None
    assert precious.exists()
    with_result = replace(job, result=Result(output=({"type": "image", "url": "https://cdn.example.com/0"},)))
    assert saved_by(with_result, data)
    assert saved_by(with_result, json.dumps(body).encode()) is None


def test_a_removal_that_was_killed_is_finished_later(results: Bucket, store: Store) -> None:
    saved_in(results, a_job("old@shop"), b"1", b"2", at=AT - 40 * DAY)
    results.remove(["zoo@shop/old@shop-0.png"])
    assert prune(results, store) == ["old@shop"]
    assert names(results) == set()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[1]",
        b'{"job": "x"}',
        b'{"job": "x", "saved_at": "?"}',
        b'{"job": "x", "saved_at": 5, "outputs": 3}',
    ],
)
def test_damaged_sidecars_remove_nothing(damage: bytes, results: Bucket, store: Store) -> None:
    saved_in(results, a_job("old@shop"), b"1", at=AT - 40 * DAY)
    results.write("zoo@shop/damaged.json", damage)
    assert prune(results, store) == ["old@shop"]
    assert results.read("zoo@shop/damaged.json") == damage


def test_removals_are_in_the_audit_log(results: Bucket, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    saved_in(results, a_job("old@shop"), b"1", at=AT - 40 * DAY)
    prune(results, store)
    assert [
        (record.name, "old@shop" in record.getMessage(), "ada" in record.getMessage()) for record in caplog.records
    ] == [("boomerang.audit", True, True)]


# --- the records ------------------------------------------------------------------------------------------------------


@pytest.fixture
def save(bench: Bench, results: Bucket) -> Callable[..., Saved]:
    """Complete a job, and save its results."""
    store = bench.with_settings(result_store="file:///srv/results")

    def save(job_id: str, *contents: bytes, **options: Any) -> Saved:
        bench.put(State.IN_PROGRESS, job_id, n=max(1, len(contents)))
        outputs = bench.store.jobs.get(job_id)
        from_provider = _result(len(contents))
        assert store.attempts.finish(job_id, State.COMPLETED, from_provider, "callback").outcome == "finished"
        saved = saved_in(results, store.jobs.get(job_id), *contents, **options)
        (due,) = store.saves.claim(60.0, 8, 1)
        assert due.job.id == job_id == outputs.id
        assert store.saves.saved(due, saved).outcome == "saved"
        return saved

    return save


def _result(count: int) -> Any:

    urls = tuple({"type": "image", "url": f"https://cdn.example.com/{index}"} for index in range(count))
    return Result(output=urls)


def test_a_record_says_that_its_results_are_removed(bench: Bench, results: Bucket, save: Callable[..., Saved]) -> None:
    saved = save("fox", b"1", at=AT - 40 * DAY)
    assert bench.store.jobs.get("fox").result.saved == saved
    assert prune(results, bench.store) == ["fox"]
    removed = bench.store.jobs.get("fox").result.saved
    assert (removed.outputs, removed.at, removed.removed_at.year) == (saved.outputs, saved.at, 2100)
    assert bench.audit() == []


def test_a_later_job_with_the_same_id_is_not_touched(bench: Bench, results: Bucket, save: Callable[..., Saved]) -> None:
    save("fox", b"1")
    assert not bench.store.saves.removed("fox", AT, AT)
    assert not bench.store.saves.removed("none", AT, AT)
    assert bench.store.jobs.get("fox").result.saved.removed_at is None


def test_removed_results_survive_the_way_to_redis_and_back() -> None:
    for saved in (Saved(AT, ()), Saved(AT, (), AT + DAY)):
        assert Saved.from_json(saved.to_json()) == saved
    malformed: list[Any] = [[], [[]], [[1, 2, 3]], [["1"]], ["1"], [None], {}, [[True]]]
    for bad in malformed:
        with pytest.raises((ValueError, TypeError)):
            Saved.from_json(bad)


# --- the comparison ---------------------------------------------------------------------------------------------------


@pytest.fixture
def findings(bench: Bench, results: Bucket) -> Callable[..., list[tuple[str, str]]]:
    def find(**options: Any) -> list[tuple[str, str]]:
        later = AT.replace(year=2100)
        return sorted((each.id, each.detail) for each in result_findings(bench.store, results, now=later, **options))

    return find


@pytest.fixture
def saved_jobs(save: Callable[..., Saved], results: Bucket) -> None:
    save("fox", b"12345", b"2")
    save("owl", b"3")
    saved_in(results, a_job("forgotten@shop"), b"only its sidecar is left")


def test_a_whole_store_has_no_findings(saved_jobs: None, findings: Callable[..., Any], results: Bucket) -> None:
    results.write("zoo@shop/manifest.ndjson", b"")
    assert findings(contents=True) == []


def test_the_audit_finds_every_difference(saved_jobs: None, findings: Callable[..., Any], results: Bucket) -> None:
    single = "~single"
    results.remove([f"{single}/fox-1.png", "zoo@shop/forgotten@shop-0.png"])
    results.write(f"{single}/fox-0.png", b"1234")
    results.write(f"{single}/stray.png", b"?")
    results.write(f"{single}/damaged.json", b"{")
    results.write(f"{single}/owl-0.png", b"x")
    assert findings() == [
        ("forgotten@shop", "zoo@shop/forgotten@shop-0.png is missing"),
        ("fox", f"{single}/fox-0.png has 4 bytes, not 5"),
        ("fox", f"{single}/fox-1.png is missing"),
        (f"{single}/damaged.json", "this sidecar is damaged"),
        (f"{single}/stray.png", "no job and no sidecar names this object"),
    ]
    assert ("owl", f"{single}/owl-0.png has other bytes than were saved") in findings(contents=True)


def test_a_record_without_a_sidecar_still_names_its_objects(
    saved_jobs: None, findings: Callable[..., Any], results: Bucket
) -> None:
    results.remove(["~single/fox.json"])
    assert findings() == []
    results.remove(["~single/fox-0.png"])
    assert findings() == [("fox", "~single/fox-0.png is missing")]


def test_removed_results_are_not_missing(
    bench: Bench, saved_jobs: None, findings: Callable[..., Any], results: Bucket
) -> None:
    for each in find_expired(results, Selection(AT + DAY, {})):
        remove(results, each, AT.replace(year=2100), "ada", bench.store.saves.removed)
    assert findings() == []
    assert names(results) == set()


def test_what_is_being_saved_is_not_unknown(bench: Bench, results: Bucket) -> None:
    results.write("zoo/half-0.png", b"1")
    (blob,) = results.list()
    assert list(result_findings(bench.store, results, now=blob.modified + UNDER_WAY)) == []
    assert len(list(result_findings(bench.store, results, now=blob.modified + 2 * UNDER_WAY))) == 1
