"""The pages that correct failed jobs of a batch from a file."""

import base64
import csv
import gzip
import html
import io
import json
import logging
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient
from openpyxl import Workbook

from jobs.api_keys import Scope
from jobs.job import Result
from jobs.new_job import BatchOptions, NewJob
from jobs.revision import MOST_REVISIONS
from jobs.states import State
from jobs.store.store import Store
from tests.support.browser import token_of
from tests.support.drawing import Draw
from webhook import corrections

CHOOSE, READ, CHECK = "/batches/foxes/correct", "/files/batches/foxes/correct", "/files/batches/foxes/correct/check"
OUTCOME = "/files/batches/foxes/correct/outcome"
PROMPTS = ["a fox", "=a formula", 'two\nlines, "quoted"; ünï \U0001f98a', "a boat", "a tree", "a house"]
LABELS = {"sku": "007", "note": "-1 of; 2"}


def request_of(prompt: str, **more: Any) -> str:
    return json.dumps({"model": "kirin_image_omni", "params": {"prompt": prompt, "aspect_ratio": "1:1"}, **more})


def fail(store: Store, jobs: int, code: str = "1301") -> None:
    for claim in store.attempts.claim(store.attempts.admit(jobs).ids):
        result = Result(error={"code": code, "message": "refused"}, cost=Decimal("0.01"))
        store.attempts.finish(claim.external_task_id, State.FAILED, result, "poll")


@pytest.fixture
def foxes(store: Store) -> Store:
    """A batch of the producer `shop`: four jobs failed, two wait."""
    more = {"labels": LABELS, "metadata": {"Stock": "1.50", "Sold": "true"}}
    jobs = [
        NewJob(
            id=f"f{number}@shop", text=request_of(prompt, **more), model="kirin_image_omni", labels=LABELS, owner="shop"
        )
        for number, prompt in enumerate(PROMPTS)
    ]
    store.jobs.enqueue(jobs, "foxes@shop", BatchOptions(owner="shop", labels={"season": "spring"}))
    fail(store, 4)
    return store


def hidden(page: Any) -> dict[str, str]:
    """What a browser would send back."""
    found = {
        html.unescape(name): html.unescape(value)
        for name, value in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text)
    }
    for name, body in re.findall(r'<select[^>]* name="(use\d+)">(.*?)</select>', page.text, re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', body)
        found[name] = html.unescape(chosen[1]) if chosen else ""
    return found


def upload(browser: FlaskClient, data: bytes | str, name: str = "fixed.csv", **fields: str) -> Any:
    token = token_of(browser.get(CHOOSE))
    file = io.BytesIO(data.encode() if isinstance(data, str) else data)
    return browser.post(READ, data={"csrf_token": token, "file": (file, name), **fields})


def confirm(browser: FlaskClient, page: Any, do: str = "correct", **fields: str) -> Any:
    return browser.post(CHECK, data={**hidden(page), "do": do, **fields}, content_type="multipart/form-data")


def downloaded(browser: FlaskClient) -> list[list[str]]:
    answer = browser.get("/files/batches/foxes/results?class=moderation&format=csv")
    assert answer.status_code == 200
    return list(csv.reader(io.StringIO(answer.get_data(as_text=True), newline="")))


def outcomes(browser: FlaskClient, page: Any) -> dict[str, str]:
    answer = browser.post(OUTCOME, data=hidden(page), content_type="multipart/form-data")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Disposition"].startswith("attachment")
    return {row["id"]: row["outcome"] for row in csv.DictReader(io.StringIO(answer.text, newline=""))}


def prompts(store: Store) -> dict[str, tuple[int, str]]:
    jobs = store.jobs.get_many([f"f{number}@shop" for number in range(len(PROMPTS))], text=True)
    return {job.given_id: (job.revision, json.loads(job.text or "")["params"]["prompt"]) for job in jobs if job}


def as_csv(rows: list[list[str]], delimiter: str = ",", *, quoting: Any = csv.QUOTE_MINIMAL, end: str = "\r\n") -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows(rows)
    return text.getvalue()


def as_workbook(rows: list[list[str]]) -> bytes:
    """Write what a spreadsheet makes of the CSV: numbers where a cell looks like one."""
    book = Workbook()
    for row in rows:
        book.active.append([float(cell) if re.fullmatch(r"\d+(\.\d+)?", cell) else cell for cell in row])
    for cells in book.active.iter_rows():
        for cell in cells:
            if isinstance(cell.value, str):
                cell.data_type = "s"
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


FORMS: dict[str, tuple[Callable[[list[list[str]]], Any], str]] = {
    "as it was": (as_csv, "fixed.csv"),
    "excel": (lambda rows: b"\xef\xbb\xbf" + as_csv(rows, ";").encode(), "fixed.csv"),
    "all quoted": (lambda rows: as_csv(rows, quoting=csv.QUOTE_ALL, end="\n"), "fixed.csv"),
    "tabs in UTF-16": (lambda rows: as_csv(rows, "\t").encode("utf-16"), "fixed.tsv"),
    "compressed": (lambda rows: gzip.compress(as_csv(rows).encode(), mtime=0), "fixed.csv.gz"),
    "workbook": (as_workbook, "fixed.xlsx"),
}


@pytest.mark.parametrize(("write", "name"), FORMS.values(), ids=FORMS)
def test_the_download_edited_in_a_spreadsheet_corrects_what_was_edited(
    write: Callable[[list[list[str]]], Any], name: str, shop: FlaskClient, foxes: Store
) -> None:
    heading, *rows = downloaded(shop)
    assert {"labels.sku", "metadata.Stock"} <= set(heading)
    by_id = {row[0]: row for row in rows}
    by_id["f0"][heading.index("prompt")] = "a calm fox"
    by_id["f1"][heading.index("prompt")] += ", drawn"

    page = upload(shop, write([heading, *rows]), name)

    assert page.status_code == 200, page.text
    assert outcomes(shop, page) == {"f0": "corrected", "f1": "corrected", "f2": "unchanged", "f3": "unchanged"}
    assert "a calm fox" in page.text
    assert prompts(foxes)["f0"] == (1, "a fox")
    done = confirm(shop, page)
    assert done.status_code == 200, done.text
    assert outcomes(shop, done) == {"f0": "corrected", "f1": "corrected", "f2": "unchanged", "f3": "unchanged"}
    assert prompts(foxes) == {
        "f0": (2, "a calm fox"),
        "f1": (2, "=a formula, drawn"),
        **{f"f{number}": (1, PROMPTS[number]) for number in range(2, 6)},
    }
    kept = json.loads(foxes.jobs.get("f0@shop", text=True).text or "")
    assert (kept["labels"], kept["metadata"]) == (LABELS, {"Stock": "1.50", "Sold": "true"})
    assert foxes.jobs.get("f0@shop").state is State.QUEUED


def test_a_download_that_nobody_edited_changes_nothing(shop: FlaskClient, foxes: Store) -> None:
    page = upload(shop, as_csv(downloaded(shop)))
    assert set(outcomes(shop, page).values()) == {"unchanged"}
    assert 'value="correct"' not in page.text
    assert set(outcomes(shop, confirm(shop, page)).values()) == {"unchanged"}
    assert {revision for revision, _ in prompts(foxes).values()} == {1}


LINES = [
    ({"external_task_id": "f0", "prompt": "a calm fox"}, "corrected"),
    ({"external_task_id": "f0", "prompt": "a wild fox"}, "row 1 has this job already"),
    ({"id": "f1", "status": "failed", "request": {"prompt": "one"}}, "corrected"),
    ({"id": "f2", "status": "failed"}, "has no request"),
    ({"external_task_id": "f2", "n": 99}, "n: must be"),
    ({"external_task_id": "f3", "prompt": "a boat"}, "same request as before"),
    ({"external_task_id": "f4", "prompt": "other"}, "is queued, not failed"),
    ({"external_task_id": "g0", "prompt": "other"}, "is not a job of this batch"),
    ({"external_task_id": "f9<script>", "prompt": "other"}, "is not a job of this batch"),
    ({"prompt": "other"}, "names no job"),
    ({"external_task_id": 7, "prompt": "other"}, "names no job"),
    ([1], "is not a JSON object"),
]


def test_each_line_says_why_it_corrects_nothing(shop: FlaskClient, foxes: Store) -> None:
    other = NewJob(id="g0@shop", text=request_of("x"), model="kirin_image_omni", owner="shop")
    foxes.jobs.enqueue([other], "others@shop", BatchOptions(owner="shop"))
    data = "".join(json.dumps(line) + "\n" for line, _ in LINES) + '{"half\n'
    page = upload(shop, data, "fixed.ndjson")
    assert page.status_code == 200, page.text
    for step in (page, confirm(shop, page)):
        rows = shop.post(OUTCOME, data=hidden(step), content_type="multipart/form-data").text
        found = [f"{row['outcome']} {row['detail']}" for row in csv.DictReader(io.StringIO(rows, newline=""))]
        assert len(found) == len(LINES) + 1
        for (line, expected), outcome in zip(LINES, found, strict=False):
            assert expected in outcome, (line, outcome)
        assert "<script>" not in step.text.replace("<script src", "")
    assert [revision for revision, _ in prompts(foxes).values()] == [2, 2, 1, 1, 1, 1]


def test_the_same_form_twice_makes_one_revision_also_after_another_correction(shop: FlaskClient, foxes: Store) -> None:
    page = upload(shop, "id,prompt\nf0,a calm fox\n")
    assert re.search("Failed jobs not in the file</dt><dd>3", page.text)
    assert outcomes(shop, confirm(shop, page)) == {"f0": "corrected"}
    again = confirm(shop, page)
    assert outcomes(shop, again) == {"f0": "unchanged"}
    assert prompts(foxes)["f0"] == (2, "a calm fox")
    fail(foxes, 3)
    later = confirm(shop, upload(shop, "id,prompt\nf0,a wild fox\n"))
    assert outcomes(shop, later) == {"f0": "corrected"}
    fail(foxes, 3)
    assert outcomes(shop, confirm(shop, page))["f0"] != "corrected"
    assert prompts(foxes)["f0"] == (3, "a wild fox")


def test_more_corrections_than_the_limit_are_left_for_the_next_time(
    shop: FlaskClient, foxes: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corrections, "MOST_CORRECTED", 2)
    data = "id,prompt\n" + "".join(f"f{number},prompt {number}\n" for number in range(4))
    page = upload(shop, data)
    assert list(outcomes(shop, page).values()) == ["corrected", "corrected", "refused", "refused"]
    confirm(shop, page)
    assert outcomes(shop, confirm(shop, upload(shop, data))) == {
        "f0": "unchanged", "f1": "unchanged", "f2": "corrected", "f3": "corrected",
    }  # fmt: skip


def test_a_job_with_the_most_revisions_is_refused(shop: FlaskClient, foxes: Store) -> None:
    for number in range(2, MOST_REVISIONS + 1):
        foxes.revisions.revise(NewJob(id="f0@shop", text=request_of(f"{number}"), model="kirin_image_omni"))
        fail(foxes, 6)
    page = upload(shop, "id,prompt\nf0,one more\n")
    assert outcomes(shop, page) == {"f0": "refused"}
    assert f"{MOST_REVISIONS} revisions" in page.text


def test_a_missing_image_is_refused_and_one_in_the_file_is_stored_only_at_the_end(
    shop: FlaskClient, foxes: Store, draw: Draw
) -> None:
    given = base64.b64encode(draw(400)).decode()
    absent = "image:sha256:" + "0" * 64
    lines = [
        {"external_task_id": "f0", "image_list": [{"image": absent}]},
        {"external_task_id": "f1", "image_list": [{"image": given}]},
    ]
    page = upload(shop, "".join(json.dumps(line) + "\n" for line in lines), "fixed.ndjson")
    assert outcomes(shop, page) == {"f0": "refused", "f1": "corrected"}
    assert outcomes(shop, confirm(shop, page)) == {"f0": "refused", "f1": "corrected"}
    assert prompts(foxes)["f1"][0] == 2


@pytest.mark.parametrize(
    ("data", "name", "problem"),
    [
        ("prompt\na fox\n", "fixed.csv", "no column with the ids"),
        ("a fox\na boat\n", "fixed.txt", "names no jobs"),
        ("", "fixed.csv", "is empty"),
        ("%PDF-1.7", "fixed.csv", "PDF"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(
    data: str, name: str, problem: str, shop: FlaskClient, foxes: Store
) -> None:
    page = upload(shop, data, name)
    assert page.status_code == 422
    assert problem in page.text


def test_a_column_can_be_mapped(shop: FlaskClient, foxes: Store) -> None:
    page = upload(shop, "Job,New words\nf0,a calm fox\n")
    assert page.status_code == 422
    page = confirm(shop, page, "check", use0="external_task_id", use1="prompt")
    assert outcomes(shop, page) == {"f0": "corrected"}
    assert outcomes(shop, confirm(shop, page)) == {"f0": "corrected"}


@pytest.mark.parametrize("field", ["draft", "outcome"])
def test_a_changed_form_is_refused(field: str, shop: FlaskClient, foxes: Store) -> None:
    page = upload(shop, "id,prompt\nf0,a calm fox\n")
    for text in ("", "AAAA", "x" * 100):
        data = {**hidden(page), "do": "correct", field: text}
        answer = shop.post(CHECK if field == "draft" else OUTCOME, data=data, content_type="multipart/form-data")
        assert answer.status_code == 422
    assert prompts(foxes)["f0"][0] == 1


def test_who_may_correct(
    log_in_as: Any, shop: FlaskClient, admin: FlaskClient, foxes: Store, caplog: pytest.LogCaptureFixture
) -> None:
    reader, press = log_in_as("shop", Scope.READ), log_in_as("press")
    assert "Upload the corrected file" in shop.get("/batches/foxes").text
    assert "Upload the corrected file" not in reader.get("/batches/foxes").text
    for browser, status in ((reader, 403), (press, 404)):
        assert browser.get(CHOOSE).status_code == status
        token = token_of(browser.get("/"))
        for path in (READ, CHECK, OUTCOME):
            assert browser.post(path, data={"csrf_token": token, "do": "correct"}).status_code == status
    page = upload(admin, "id,prompt\nf0@shop,a calm fox\nf1@press,x\n")
    assert admin.post(CHECK, data={**hidden(page), "csrf_token": "x", "do": "correct"}).status_code == 400
    with caplog.at_level(logging.INFO, "boomerang.audit"):
        assert outcomes(admin, confirm(admin, page)) == {"f0@shop": "corrected", "f1@press": "refused"}
    lines = [each.getMessage() for each in caplog.records if "check_corrections" in each.getMessage()]
    assert any("corrected=1" in line and "refused=1" in line and "batch_id=foxes@shop" in line for line in lines)
