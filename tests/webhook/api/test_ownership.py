"""A producer sees its jobs only. For those of another producer it gets the same answer as for absent ones."""

import base64
import hashlib
import json
import re
from decimal import Decimal
from importlib.resources import files
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from jobs.api_keys import Scope
from jobs.new_job import BatchOptions, NewJob
from jobs.result import Result
from jobs.states import State
from jobs.store.bulks import Bulks
from jobs.store.store import Store
from tests.support.browser import log_in, token_of
from tests.support.drawing import Draw
from tests.support.producers import own
from webhook.access.scopes import scope_of
from webhook.app import create_app
from webhook.settings import Settings

LINE = b'{"model": "kirin_image_omni", "prompt": "a fox"}\n'


@pytest.fixture
def producers(settings: Settings, store: Store) -> Flask:
    return create_app(
        Settings(**{**vars(settings), "api_keys": ("shop:one", "press:two"), "admin_keys": ("boss:b",)}),
        store,
        lambda *_: True,
    )


def with_key(app: Flask, secret: str) -> FlaskClient:
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
    return client


@pytest.fixture
def shop(producers: Flask) -> FlaskClient:
    return with_key(producers, "one")


@pytest.fixture
def press(producers: Flask) -> FlaskClient:
    return with_key(producers, "two")


@pytest.fixture
def boss(producers: Flask) -> FlaskClient:
    return with_key(producers, "b")


def make(producer: FlaskClient, job_id: str, **more: Any) -> Any:
    body = {"model": "kirin_image_omni", "prompt": "a fox", "external_task_id": job_id, **more}
    return producer.post("/v1/jobs", json=body)


def line(job_id: str) -> bytes:
    return json.dumps({"model": "kirin_image_omni", "prompt": "a fox", "external_task_id": job_id}).encode() + b"\n"


#: Every path parameter: ownership of OWNED resources is checked, SHARED ones have no owner.
OWNED = {
    "job_id": "job-one",
    "batch_id": "batch-1",
    "bulk_id": "",  # the service makes this id
    "task_id": "job-one",
    "index": "0",
    "receiver": "shop.eu",
}
#: What does not exist, in as many characters as what does.
ABSENT = dict.fromkeys(OWNED, "missing") | {"bulk_id": "a-missing-action"}
SHARED = {"image_id"}
#: Those of calls for operators only.
OPERATORS = {"lane", "producer"}


@pytest.fixture
def owned(shop: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Path parameters that name what `shop` has: a job, a batch, and a bulk action that is under way."""
    assert make(shop, "job-one").status_code == 201
    assert shop.post("/v1/batches?id=batch-1", data=LINE).status_code == 201
    with monkeypatch.context() as no_step:
        no_step.setattr("jobs.store.bulks.AT_ONCE", 0)
        bulk = shop.post("/v1/bulk", json={"action": "pause", "filter": {}})
    assert (bulk.status_code, bulk.json["status"]) == (201, "running")
    return OWNED | {"bulk_id": bulk.json["id"]}


def path_of(rule: Rule, named: dict[str, str]) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: named[found[1]], rule.rule)


def is_unchanged(shop: FlaskClient, owned: dict[str, str]) -> bool:
    counts = shop.get("/v1/batches/batch-1").json["counts"]
    states = [shop.get(f"/v1/{path}").json["status"] for path in ("jobs/job-one", f"bulk/{owned['bulk_id']}")]
    return [counts["queued"], *states] == [1, "queued", "running"]


def headers_of(answer: Any) -> dict[str, str]:
    """Return the headers without the request's number."""
    return {name: value for name, value in answer.headers.items() if name != "X-Request-Id"}


def test_another_producers_resources_look_absent(
    producers: Flask, owned: dict[str, str], shop: FlaskClient, press: FlaskClient, boss: FlaskClient
) -> None:
    checked = 0
    for rule in producers.url_map.iter_rules():
        if not rule.rule.startswith(("/v1", "/model/v1")) or not rule.arguments:
            continue
        assert rule.arguments <= OWNED.keys() | SHARED | OPERATORS, f"{rule}: add it to OWNED, SHARED or OPERATORS"
        if rule.arguments <= OPERATORS:
            assert scope_of(producers, rule.endpoint) is Scope.ADMIN
        if rule.arguments <= SHARED | OPERATORS:
            continue
        for method in (rule.methods or set()) - {"OPTIONS"}:
            theirs, absent = path_of(rule, owned), path_of(rule, ABSENT)
            with press.open(theirs, method=method) as one, press.open(absent, method=method) as other:
                assert one.status_code == 404, (method, theirs)
                assert headers_of(one) == headers_of(other)
                text = one.get_data(as_text=True)
                for name in rule.arguments - {"index"}:
                    text = text.replace(owned[name], ABSENT[name])
                assert text == other.get_data(as_text=True)
            checked += 1
    assert checked > 15
    # The owner's resources exist and have not changed
    assert is_unchanged(shop, owned)
    assert is_unchanged(boss, owned)
    assert [len(client.get("/v1/bulk").json["bulk"]) for client in (shop, press, boss)] == [1, 0, 1]


#: A form that every action on the pages takes: without what it requires, it is refused before the owner is compared.
FORM = {"request": LINE.decode(), "class": "moderation", "verdict": "accepted"}
REVIEW = {"verdict": "accepted"}


def test_a_change_compares_the_owner_again_when_it_happens(
    producers: Flask, owned: dict[str, str], shop: FlaskClient, press: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job that the view checked may be gone by then, and its id may be another producer's."""
    browser = producers.test_client()
    assert log_in(browser, "two").status_code == 303
    form = FORM | {"csrf_token": token_of(browser.get("/"))}
    read = Bulks.get
    answers: dict[str, int] = {}
    expected: dict[str, int] = {}
    with monkeypatch.context() as late:
        for name in ("find_job", "find_batch"):
            late.setattr(f"webhook.api.ownership.{name}", lambda given: own(given, "shop"))
        late.setattr(Bulks, "get", lambda bulks, bulk_id, **_: read(bulks, bulk_id))
        for rule in producers.url_map.iter_rules():
            if not rule.arguments & OWNED.keys() or rule.rule.startswith("/callbacks"):
                continue
            for method in (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}:
                path = path_of(rule, owned)
                if rule.endpoint.startswith("pages."):
                    answer = browser.open(path, method=method, data=form)
                else:
                    answer = press.open(path, method=method, json=REVIEW if method == "PUT" else None)
                answers[f"{method} {path}"] = answer.status_code
                expected[f"{method} {path}"] = 403 if scope_of(producers, rule.endpoint) is Scope.ADMIN else 404
    assert answers == expected
    assert len(answers) >= 25
    assert is_unchanged(shop, owned)


def test_a_job_in_a_batch_belongs_to_the_batchs_owner(shop: FlaskClient, press: FlaskClient) -> None:
    assert shop.post("/v1/batches?id=batch", data=line("mine") + LINE).status_code == 201
    for job_id in ("mine", "batch.2"):
        assert shop.get(f"/v1/jobs/{job_id}").status_code == 200
        assert press.get(f"/v1/jobs/{job_id}").status_code == 404
        assert press.get(f"/model/v1/generation/task/{job_id}").status_code == 404
        assert shop.get(f"/model/v1/generation/task/{job_id}").status_code == 200


def test_two_producers_have_jobs_of_the_same_id(shop: FlaskClient, press: FlaskClient, store: Store) -> None:
    requests = {"model": "kirin_image_omni", "prompt": "a fox", "external_task_id": "same"}
    for producer, n in ((shop, 1), (press, 2)):
        # Another request under the other's id, and the same again; by both entry points
        assert make(producer, "same", n=n).status_code == 201
        assert make(producer, "same", n=n).status_code == 200
        assert producer.post("/model/v1/generation", json=requests | {"n": n}).status_code == 200
        assert make(producer, "same", n=3).status_code == 409
    assert [store.jobs.get(own("same", name)).n for name in ("shop", "press")] == [1, 2]
    assert store.statistics.totals().counts[State.QUEUED] == 2


@pytest.mark.parametrize("whole", [False, True], ids=["line by line", "all or nothing"])
def test_a_batch_contains_ids_that_another_producer_has(whole: bool, shop: FlaskClient, press: FlaskClient) -> None:
    make(shop, "taken")
    option = "&on_error=abort" if whole else ""
    answer = press.post(f"/v1/batches?id=b{option}", data=line("taken") + line("free"))
    assert (answer.status_code, answer.json["accepted"], answer.json["errors"]) == (201, 2, [])
    # A producer's own repeats are known, also within one upload
    again = shop.post(f"/v1/batches?id=mine{option}", data=line("taken") + line("new") * 2)
    assert (again.status_code, again.json["known"], again.json["accepted"]) == (201, 2, 1)


@pytest.mark.parametrize("option", ["", "&on_error=abort"])
def test_an_upload_adds_to_the_callers_own_batch(
    option: str, shop: FlaskClient, press: FlaskClient, boss: FlaskClient, store: Store
) -> None:
    for producer, lines in ((shop, 1), (press, 2), (boss, 3)):
        answer = producer.post(f"/v1/batches?id=b&label=a=b{option}", data=LINE * lines)
        assert (answer.status_code, answer.json["id"], answer.json["accepted"]) == (201, "b", lines)
        views = producer.get("/v1/batches/b/results").text.splitlines()
        assert [(json.loads(view)["id"], json.loads(view)["batch"]) for view in views] == [
            (f"b.{number}", "b") for number in range(1, lines + 1)
        ]
    # Only an administrator may add to another's batch, whose owner stays the same
    assert press.post(f"/v1/batches?id=b@shop{option}", data=LINE * 2).status_code == 422
    assert boss.post(f"/v1/batches?id=b@shop{option}", data=LINE * 2).json["accepted"] == 1
    assert (store.batches.get("b@shop").accepted, store.batches.get("b@shop").owner) == (2, "shop")
    assert shop.get("/v1/jobs/b.2").status_code == 200


def test_an_upload_does_not_add_to_a_batch_that_another_began_meanwhile(store: Store) -> None:
    job = NewJob(id="b.1", text="{}", model="kirin_image_omni")
    store.uploads.stage("upload", [job])
    store.jobs.enqueue([], "b", BatchOptions(owner="shop"))
    with pytest.raises(Exception, match="Another producer"):
        store.uploads.commit("upload", "b", 1, BatchOptions(owner="press"))
    assert store.batches.get("b").accepted == 0
    assert store.uploads.commit("upload", "b", 1, BatchOptions(owner="shop")).affected == 1


def test_lists_contain_only_the_callers_resources(shop: FlaskClient, press: FlaskClient, boss: FlaskClient) -> None:
    for number in range(3):
        make(shop, f"s{number}", labels={"kind": "a"})
        make(press, f"p{number}", labels={"kind": "a"})
    shop.post("/v1/batches?id=sb&label=kind=a", data=LINE)
    press.post("/v1/batches?id=pb&label=kind=a", data=LINE)

    def listed(producer: FlaskClient, query: str, what: str = "jobs") -> list[str]:
        found: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = producer.get(
                f"/v1/{what}?limit=2&{query}&cursor={cursor}" if cursor else f"/v1/{what}?limit=2&{query}"
            )
            assert page.status_code == 200, page.text
            found += [each["id"] for each in page.json[what]]
            cursor = page.json["cursor"]
        return found

    assert listed(shop, "") == ["sb.1", "s2", "s1", "s0"]
    assert listed(press, "") == ["pb.1", "p2", "p1", "p0"]
    assert listed(boss, "") == ["pb.1", "sb.1", "p2", "s2", "p1", "s1", "p0", "s0"]
    assert listed(shop, "status=queued") == ["sb.1", "s2", "s1", "s0"]
    assert listed(shop, "label=kind=a") == ["s2", "s1", "s0"]
    assert listed(shop, "batch=pb") == listed(shop, "batch=none") == []
    assert listed(shop, "batch=sb") == ["sb.1"]
    assert listed(shop, "", "batches") == listed(shop, "label=kind=a", "batches") == ["sb"]
    assert listed(boss, "", "batches") == ["pb", "sb"]


@pytest.mark.parametrize("in_id", [True, False], ids=["by its id", "by its record"])
def test_a_sparse_page_scans_a_bounded_number_and_its_cursor_continues(
    in_id: bool, shop: FlaskClient, press: FlaskClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page passes 40 of another producer's jobs. One whose id names the producer counts as less than a record."""
    selection = files("jobs.lua").joinpath("shared/selection.lua").read_text("utf-8")
    work_of_id = float(re.findall(r"WORK_OF_ID = ([\d.]+)", selection)[0])
    scan = round(40 * work_of_id) if in_id else 40
    monkeypatch.setattr("jobs.store.job_lists.SCAN", scan)
    monkeypatch.setattr("jobs.store.job_lists.STEP", scan // 2)
    make(shop, "old")
    if in_id:
        press.post("/v1/batches?id=many", data=LINE * 100)
    else:
        store.jobs.enqueue(
            [NewJob(id=f"c{n}", text="{}", model="kirin_image_omni", owner="celery") for n in range(100)]
        )
    make(shop, "new")
    # As in records of before the index by producer: it leads past the jobs of others
    store.context.client.hdel(store.context.keys.singleton("totals"), "indexed_from")
    pages: list[list[str]] = []
    cursor: Any = ""
    while cursor is not None:
        page = json.loads(shop.get(f"/v1/jobs?limit=10{cursor and f'&cursor={cursor}'}").text)
        pages.append([each["id"] for each in page["jobs"]])
        cursor = page["cursor"]
    assert pages == [["new"], [], ["old"]]


@pytest.fixture
def spent(shop: FlaskClient, press: FlaskClient, store: Store) -> None:
    for job_id, producer in (("s", shop), ("p", press)):
        make(producer, job_id)
    store.attempts.admit(10)
    for claim in store.attempts.claim([own("s", "shop"), own("p", "press")]):
        store.attempts.mark_in_progress(claim.id, claim.fence, f"task-{claim.id}")
        store.attempts.finish(claim.id, State.COMPLETED, Result(cost=Decimal("0.5")), "poll")


@pytest.mark.usefixtures("spent")
def test_only_administrators_see_what_others_spent(shop: FlaskClient, boss: FlaskClient) -> None:
    def rows(caller: FlaskClient, query: str) -> dict[str, str]:
        return {row["name"]: row["cost"] for row in caller.get(f"/v1/spend?{query}").json["rows"]}

    assert rows(shop, "by=key") == {"shop": "0.5"}
    assert rows(shop, "by=key&key=shop") == {"shop": "0.5"}
    assert rows(shop, "by=key&key=press") == rows(shop, "by=key&key=absent") == {}
    assert rows(boss, "by=key") == {"shop": "0.5", "press": "0.5"}
    assert rows(boss, "by=key&key=press") == {"press": "0.5"}
    assert [lane["spent"] for caller in (shop, boss) for lane in caller.get("/v1/lanes").json["lanes"]] == [None, "1"]


def test_an_image_is_known_to_those_who_uploaded_or_sent_it(
    shop: FlaskClient, press: FlaskClient, boss: FlaskClient, store: Store, draw: Draw
) -> None:
    data = draw()
    image = shop.post("/v1/images", data=data, content_type="image/png").json["id"]
    absent = image[:-1] + ("0" if image[-1] != "0" else "1")

    def ask(client: FlaskClient, name: str) -> list[tuple[int, str]]:
        """Try to find out whether an image is stored, in every way that a call offers."""
        request = {"model": "kirin_image_omni", "prompt": "a fox", "image_list": [{"image": name}]}
        lines = json.dumps(request).encode() + b"\n"
        answers = [
            client.get(f"/v1/images/{name}"),
            client.head(f"/v1/images/{name}"),
            client.post("/v1/jobs", json=request),
            client.post("/model/v1/generation", json=request),
            client.post("/v1/batches?id=probe", data=lines),
            client.post("/v1/batches?id=probe&on_error=abort", data=lines + b"{}\n"),
        ]
        return [(each.status_code, each.text.replace(name, "it")) for each in answers]

    theirs, missing = ask(press, image), ask(press, absent)
    assert theirs == missing
    assert [status for status, _ in theirs] == [404, 404, 422, 400, 201, 422]
    assert [status for status, _ in ask(boss, image)][:3] == [200, 200, 201]
    # An upload is answered as the first one was, and stored once
    answers = [press.post("/v1/images", data=data, content_type="image/png").status_code for _ in range(2)]
    assert answers == [201, 200]
    assert len(store.context.client.keys("{b}:o:*")) == 1
    for client in (shop, press):
        assert [status for status, _ in ask(client, image)][:4] == [200, 200, 201, 200]


def test_an_image_sent_in_a_job_is_known_to_its_producer(shop: FlaskClient, press: FlaskClient, draw: Draw) -> None:
    data = draw()
    inline = base64.b64encode(data).decode()
    image = f"image:sha256:{hashlib.sha256(data).hexdigest()}"
    for client in (shop, press):
        assert client.get(f"/v1/images/{image}").status_code == 404
        assert make(client, "inline", image_list=[{"image": inline}]).status_code == 201
        assert client.get(f"/v1/images/{image}").status_code == 200


def test_images_of_version_1_are_any_producers(shop: FlaskClient, press: FlaskClient, store: Store, draw: Draw) -> None:
    image = shop.post("/v1/images", data=draw(), content_type="image/png").json["id"]
    store.context.client.delete(store.context.keys.singleton("holders"))
    for client in (press, shop):
        assert client.get(f"/v1/images/{image}").status_code == 200
        assert client.post("/v1/images", data=draw(), content_type="image/png").status_code == 200
        assert make(client, "with", image_list=[{"image": image}]).status_code == 201


def test_only_administrators_see_jobs_of_celery_producers(shop: FlaskClient, boss: FlaskClient, store: Store) -> None:
    for job_id, owner in (("c", "celery"), ("from-before-names", "")):
        store.jobs.enqueue([NewJob(id=job_id, text="{}", model="kirin_image_omni", owner=owner)])
        assert shop.get(f"/v1/jobs/{job_id}").status_code == 404
        assert boss.get(f"/v1/jobs/{job_id}").status_code == 200
    assert shop.get("/v1/jobs").json["jobs"] == []
