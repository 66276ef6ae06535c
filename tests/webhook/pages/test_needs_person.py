"""The page of what needs a person, and the decisions that settle a job."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobs.job import Delivery
from jobs.new_job import NewJob
from jobs.states import State
from jobs.store.store import Store
from jobs.timeline import timeline_of
from tests.support.browser import act
from tests.support.hostile_text import HOSTILE

PAGE = "/needs-a-person"
AN_HOUR = 3_600_000_000
NOT_SENT = {"verdict": "not-sent", "sure": "yes"}


@pytest.fixture
def doubt(store: Store) -> Callable[..., str]:
    """Return `doubt("one", "shop", why="timed out")`, which makes a job that has been in doubt for an hour."""

    def make(name: str, owner: str = "shop", why: str = "timed out") -> str:
        job_id = f"{name}@{owner}"
        owed = frozenset({Delivery.NOTIFY})
        store.jobs.enqueue([NewJob(id=job_id, text="{}", model="m", owner=owner, owed=owed)])
        assert job_id in store.attempts.admit(1_000).ids
        (claim,) = store.attempts.claim([job_id])
        store.attempts.mark_in_doubt(job_id, claim.fence, why)
        client, keys = store.context.client, store.context.keys
        an_hour_ago = int(client.zscore(keys.singleton("doubts"), job_id) or 0) - AN_HOUR
        client.hset(keys.member("job", job_id), "x", an_hour_ago)
        client.zadd(keys.singleton("doubts"), {job_id: an_hour_ago})
        return job_id

    return make


@pytest.fixture
def given_up(store: Store) -> Callable[[str, str], str]:
    """Return `given_up("one", "shop")`, which makes a job whose delivery was given up."""

    def make(name: str, owner: str) -> str:
        job_id = f"{name}@{owner}"
        store.jobs.enqueue([NewJob(id=job_id, text="{}", model="m", owner=owner, owed=frozenset({Delivery.NOTIFY}))])
        store.jobs.cancel(job_id)
        (due,) = store.deliveries.claim([job_id])
        store.deliveries.give_up(due, Delivery.NOTIFY, "HTTP 410")
        return job_id

    return make


def settle(browser: FlaskClient, store: Store, job_id: str, **fields: str) -> Any:
    """Open the page of the job and send its form."""
    job = store.jobs.get(job_id)
    since = str(int(job.unknown_since.timestamp() * 1_000_000)) if job.unknown_since else ""
    address = f"{PAGE}/{job_id}"
    return act(browser, address, f"{address}/outcome", **{"since": since, **fields})


def test_nothing_needs_a_person(shop: FlaskClient) -> None:
    assert "Nothing needs a person" in shop.get(PAGE).text


def test_kinds_are_counted_and_link_to_what_settles_them(
    doubt: Callable[..., str],
    given_up: Callable[..., str],
    finish: Callable[..., None],
    admin: FlaskClient,
    store: Store,
) -> None:
    doubt("maybe")
    given_up("unheard", "shop")
    finish("priceless", None)
    page = admin.get(PAGE).text
    for name in ("maybe@shop", "unheard@shop", "priceless@shop"):
        assert f'href="{PAGE}/{name}"' in page
    only = admin.get(f"{PAGE}?kind=in_doubt").text
    assert "maybe@shop" in only
    assert "unheard@shop" not in only
    assert admin.get(f"{PAGE}?kind=nothing").status_code == 200


def test_a_kind_has_pages(doubt: Callable[..., str], admin: FlaskClient) -> None:
    names = {doubt(f"job-{number:02}") for number in range(52)}
    first, second = admin.get(f"{PAGE}?kind=in_doubt").text, admin.get(f"{PAGE}?kind=in_doubt&skip=50").text
    on_first, on_second = ({name for name in names if f"/{name}" in text} for text in (first, second))
    assert (len(on_first), len(on_second)) == (50, 2)
    assert on_first | on_second == names
    assert "skip=50" in first
    for skip in ("-1", "x", "9" * 30, "٣"):
        assert admin.get(f"{PAGE}?kind=in_doubt&skip={skip}").status_code == 200


@pytest.mark.parametrize(
    ("verdict", "state"), [("sent", State.IN_PROGRESS), ("not-sent", State.QUEUED), ("failed", State.FAILED)]
)
def test_each_decision_about_a_doubt(
    verdict: str, state: State, doubt: Callable[..., str], admin: FlaskClient, store: Store
) -> None:
    job_id = doubt("one")
    assert "TWICE" in admin.get(f"{PAGE}/{job_id}").text
    answer = settle(admin, store, job_id, verdict=verdict, sure="yes", task_id="881234")
    assert (answer.status_code, answer.headers["Location"]) == (303, PAGE)
    job = store.jobs.get(job_id)
    assert job.state is state
    assert job.task_id == ("881234" if verdict == "sent" else None)
    assert "by boss" in (job.reason or "") or state is not State.QUEUED
    assert f"Settled job {job_id} as {verdict}" in admin.get(PAGE).text


def test_a_decision_is_in_the_audit_log(
    doubt: Callable[..., str], admin: FlaskClient, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = doubt("one")
    with caplog.at_level(logging.INFO, "boomerang.audit"):
        settle(admin, store, job_id, verdict="sent", sure="yes", task_id="881234")
    line = caplog.records[-1].getMessage()
    assert f"operation=pages.settle_outcome job_id={job_id} verdict=sent task_id=881234" in line
    assert "producer=boss" in line


@pytest.mark.parametrize(
    "fields",
    [
        {"verdict": "not-sent"},
        {"verdict": "sent", "sure": "yes"},
        {"verdict": "sent", "sure": "yes", "task_id": "  "},
        {"verdict": "maybe", "sure": "yes"},
        {"sure": "yes"},
    ],
)
def test_an_incomplete_decision_changes_nothing(
    fields: dict[str, str], doubt: Callable[..., str], admin: FlaskClient, store: Store
) -> None:
    job_id = doubt("one")
    assert settle(admin, store, job_id, **fields).status_code == 422
    assert store.jobs.get(job_id).state is State.IN_DOUBT


def test_a_decision_applies_only_to_the_doubt_that_the_person_saw(
    doubt: Callable[..., str], admin: FlaskClient, store: Store
) -> None:
    job_id = doubt("one")
    for since in ("", "1", "x"):
        assert settle(admin, store, job_id, **NOT_SENT, since=since).status_code == 303
        assert "changed in the meantime" in admin.get(f"{PAGE}/{job_id}").text
        assert store.jobs.get(job_id).state is State.IN_DOUBT
    settle(admin, store, job_id, **NOT_SENT)
    # A second press of the button finds nothing to settle
    assert settle(admin, store, job_id, **NOT_SENT).status_code == 303
    assert "Nothing of this job needs a person" in admin.get(f"{PAGE}/{job_id}").text


@pytest.mark.parametrize("usd", ["", "free", "-1", "NaN", "1e9", "0.0000000001", "1,5"])
def test_a_cost_is_an_amount(usd: str, finish: Callable[..., None], admin: FlaskClient, store: Store) -> None:
    finish("one", None)
    answer = act(admin, f"{PAGE}/one@shop", f"{PAGE}/one@shop/cost", usd=usd)
    assert answer.status_code == 422
    assert store.jobs.get("one@shop").unknown_cost is not None


def test_a_cost_is_settled_once(finish: Callable[..., None], admin: FlaskClient, store: Store) -> None:
    finish("one", None)
    act(admin, f"{PAGE}/one@shop", f"{PAGE}/one@shop/cost", usd="0.0065")
    assert str(store.jobs.get("one@shop").cost) == "0.0065"
    assert [each.by for each in timeline_of(store.jobs.get("one@shop")) if each.event == "cost_settled"] == ["boss"]
    act(admin, f"{PAGE}/one@shop", f"{PAGE}/one@shop/cost", usd="7")
    assert "Nothing was changed" in admin.get(PAGE).text
    assert str(store.jobs.get("one@shop").cost) == "0.0065"


def test_a_delivery_is_repeated(given_up: Callable[[str, str], str], admin: FlaskClient, store: Store) -> None:
    job_id = given_up("one", "shop")
    act(admin, f"{PAGE}/{job_id}", f"{PAGE}/{job_id}/deliveries")
    assert Delivery.NOTIFY in store.jobs.get(job_id).owed
    act(admin, f"{PAGE}/{job_id}", f"{PAGE}/{job_id}/deliveries")
    assert "No delivery of this job was given up" in admin.get(PAGE).text


def test_saving_needs_a_result_store(finish: Callable[..., None], admin: FlaskClient) -> None:
    finish("one", "0.5")
    act(admin, f"{PAGE}/one@shop", f"{PAGE}/one@shop/save")
    assert "BOOMERANG_RESULT_STORE" in admin.get(PAGE).text


def test_a_producer_sees_its_own_and_settles_nothing(
    doubt: Callable[..., str],
    given_up: Callable[[str, str], str],
    shop: FlaskClient,
    log_in_as: Callable[..., FlaskClient],
    store: Store,
) -> None:
    job_id, press = doubt("mine", why="secret-reason"), log_in_as("press")
    given_up("unheard", "shop")
    own = shop.get(PAGE).text
    assert "mine" in own
    assert "secret-reason" in own
    assert "unheard" in own
    assert "Settle" not in own
    assert "boomerang-server" not in own
    assert f"{PAGE}/mine" not in own
    for kind in ("", "?kind=in_doubt", "?kind=delivery"):
        for text in ("mine", "secret-reason", "unheard", "@shop"):
            assert text not in press.get(PAGE + kind).text
    for browser in (shop, press):
        assert browser.get(f"{PAGE}/mine").status_code in (403, 404)
        for action in ("outcome", "cost", "deliveries", "save"):
            answer = act(browser, "/", f"{PAGE}/mine/{action}", usd="1", **NOT_SENT)
            assert answer.status_code in (403, 404)
    assert store.jobs.get(job_id).state is State.IN_DOUBT


def test_a_producer_sends_its_notification_again(
    given_up: Callable[[str, str], str], shop: FlaskClient, store: Store
) -> None:
    job_id = given_up("unheard", "shop")
    act(shop, PAGE, "/deliveries/replay", id=job_id)
    assert Delivery.NOTIFY in store.jobs.get(job_id).owed


def test_batches_and_keys_at_a_cap_are_their_producers(
    store: Store, raw: Any, shop: FlaskClient, admin: FlaskClient
) -> None:
    keys = store.context.keys
    far = 9_000_000_000_000_000
    raw.zadd(keys.singleton("capped"), {"default|n|bcity@shop": far, "default|n|kshop": far, "default|n|kpress": far})
    raw.zadd(keys.singleton("at_cap"), {"dear@shop": 1, "theirs@press": 1})
    own, every = shop.get(PAGE).text, admin.get(PAGE).text
    for name in ("city", "dear"):
        assert f'dir="auto">{name}</span>' in own
        assert f"{name}@shop" in every
    assert ">press<" not in own
    assert "theirs" not in own
    assert "key press" not in own
    assert "key press" in every


@pytest.mark.parametrize("text", [HOSTILE, "<script>alert(1)</script>", "\u202eabc", "x" * 2_500, "🦊" * 50])
def test_text_from_outside_is_text(text: str, doubt: Callable[..., str], admin: FlaskClient, shop: FlaskClient) -> None:
    job_id = doubt("one", why=text)
    for page in (admin.get(PAGE), shop.get(PAGE), admin.get(f"{PAGE}/{job_id}")):
        assert page.status_code == 200
        assert "<script>alert" not in page.text


def test_an_unknown_job_is_not_found(admin: FlaskClient) -> None:
    assert admin.get(f"{PAGE}/nothing").status_code == 404
