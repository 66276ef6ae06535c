"""The pages that make a batch from a file or pasted lines."""

import gzip
import html
import io
import json
import re
import zipfile
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient
from openpyxl import Workbook

from jobs.api_keys import Scope
from jobs.store.store import Store
from tests.support.browser import token_of
from webhook.drafts.draft import MOST_COLUMNS, MOST_LINES

CSV = b"Title,prompt,n,labels.shop\nBoat,a red boat,2,berlin\nFox,a fox,99,\n"
HOSTILE = "<script>alert(1)</script>\u202e😀"


def upload(browser: FlaskClient, data: bytes | None = None, name: str = "jobs.csv", **fields: str) -> Any:
    token = token_of(browser.get("/batches/~new"))
    file = {} if data is None else {"file": (io.BytesIO(data), name)}
    return browser.post("/files/new-batch", data={"csrf_token": token, **file, **fields})


def fields_of(page: Any) -> dict[str, str]:
    """What a browser would send back: hidden fields, inputs, selects."""
    text = page.text
    found = {
        html.unescape(name): html.unescape(value)
        for name, value in re.findall(r'<input[^>]* name="([^"]+)"[^>]* value="([^"]*)"', text)
    }
    for name, body in re.findall(r'<select[^>]* name="([^"]+)">(.*?)</select>', text, re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', body) or re.search(r'value="([^"]*)"', body)
        found[name] = html.unescape(chosen[1])
    return found


def check(browser: FlaskClient, page: Any, **fields: str) -> Any:
    data = {**fields_of(page), "model": "kirin_image_omni", "do": "check", **fields}
    return browser.post("/files/new-batch/check", data=data, content_type="multipart/form-data")


def workbook(*rows: list[Any]) -> bytes:
    book = Workbook()
    for row in rows:
        book.active.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "name", "jobs"),
    [
        (CSV, "jobs.csv", [("a red boat", 2)]),
        (CSV.replace(b",", b";"), "jobs.csv", [("a red boat", 2)]),
        (CSV.decode().encode("utf-16"), "jobs.csv", [("a red boat", 2)]),
        (gzip.compress(CSV, mtime=0), "jobs.csv.gz", [("a red boat", 2)]),
        (
            workbook(["prompt", "n"], ["a red boat", 2], [], ["a fox", 1]),
            "jobs.xlsx",
            [("a red boat", 2), ("a fox", 1)],
        ),
        (b'{"prompt": "a boat"}\n\n{"prompt": "a fox", "n": 3}\n', "jobs.ndjson", [("a boat", 1), ("a fox", 3)]),
        ("a boat\n\n  ein Füchslein \r\n".encode(), "jobs.txt", [("a boat", 1), ("ein Füchslein", 1)]),
    ],
)
def test_a_file_becomes_a_batch(store: Store, shop: FlaskClient, data: bytes, name: str, jobs: list[Any]) -> None:
    page = upload(shop, data, name)
    assert page.status_code == 200, page.text
    page = check(shop, page, id="spring")
    assert page.status_code == 200, page.text
    assert f"Start {len(jobs)} job" in page.text
    # Nothing is stored before the start
    assert store.batches.options("spring@shop") is None
    started = check(shop, page, do="start", max_cost="12.50", labels="shop=berlin\nseason=spring", priority="high")
    assert started.status_code == 303, started.text
    batch = store.batches.get("spring@shop")
    assert (batch.accepted, batch.paused, batch.max_cost) == (len(jobs), False, Decimal("12.5"))
    assert batch.labels == {"shop": "berlin", "season": "spring"}
    texts = store.jobs.get_texts([job.id for job in store.batches.jobs("spring@shop")])
    requests = [json.loads(text or "")["params"] for text in texts]
    assert [(each["prompt"], each.get("n", 1)) for each in requests] == jobs


def test_refused_lines_are_named_and_left_out(store: Store, shop: FlaskClient) -> None:
    rows = b"".join(b"a fox,%d\n" % number for number in range(10, 60))
    page = check(shop, upload(shop, b"prompt,n\na boat,1\n" + rows), id="spring")
    assert page.text.count("must be from 1 to 9") == 20
    assert "And 30 more" in page.text
    assert check(shop, page, do="start", on_error="abort").status_code == 422
    assert check(shop, page, do="start").status_code == 303
    assert [job.id for job in store.batches.jobs("spring@shop")] == ["spring.2@shop"]


@pytest.mark.parametrize(("do", "waits"), [("paused", 3), ("pilot", 1)])
def test_a_batch_starts_paused_or_with_a_pilot(store: Store, shop: FlaskClient, do: str, waits: int) -> None:
    page = check(shop, upload(shop, None, lines="a boat\na fox\na tree"), id="spring")
    assert check(shop, page, do=do, pilot="2").status_code == 303
    batch = store.batches.get("spring@shop")
    assert batch.awaits_approval
    assert (batch.pilot.jobs if batch.pilot else None) == (2 if do == "pilot" else None)


def test_the_same_form_twice_makes_one_batch(store: Store, shop: FlaskClient) -> None:
    page = check(shop, upload(shop, None, lines="a boat\na fox"))
    for _ in range(2):
        assert check(shop, page, do="start").status_code == 303
    found = store.batches.page().batches
    assert [batch.accepted for batch in found] == [2]


def test_columns_are_guessed_and_can_be_changed(store: Store, shop: FlaskClient) -> None:
    page = upload(shop, b"ID,Text,Colour,labels.shop,Aspect Ratio\nx1,a boat,red,berlin,16:9\n")
    assert [fields_of(page)[f"use{place}"] for place in range(5)] == [
        "external_task_id", "prompt", "metadata", "labels.shop", "aspect_ratio",
    ]  # fmt: skip
    page = check(shop, page, id="spring", use2="labels", template="{Text}, all {Colour}")
    assert check(shop, page, do="start", id="spring").status_code == 303
    job = store.jobs.get("x1@shop")
    assert job.labels == {"shop": "berlin", "Colour": "red"}
    page = check(shop, page, use2="prompt", template="")
    assert page.status_code == 422
    assert "2 columns are prompt" in page.text


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (b"", "jobs.csv", "is empty"),
        (b"\xef\xbb\xbf\n\n", "jobs.csv", "is empty"),
        (b"prompt\n", "jobs.csv", "no lines"),
        ("prompt\nFüchse\n".encode("cp1252"), "jobs.csv", "is not UTF-8"),
        (b"prompt\n\x00\x01\x02", "jobs.csv", "binary"),
        (b"%PDF-1.7", "jobs.csv", "PDF"),
        (b"\xd0\xcf\x11\xe0", "jobs.xls", "old Excel"),
        (b"PK\x03\x04rest", "jobs.xlsx", "damaged"),
        (b"\x1f\x8brest", "jobs.csv.gz", "gzip"),
        (gzip.compress(b"a" * 50_000_000, mtime=0), "jobs.csv.gz", "unpacks to more"),
        (b"x," * 100_000, "jobs.csv", f"more than {MOST_COLUMNS}"),
        (b'prompt\n"a\n' * 20, "jobs.csv", "quotation marks"),
        (b"prompt\n" + b"x" * 200_000, "jobs.csv", "characters in a cell"),
        (b"prompt\n" + b"x\n" * (MOST_LINES + 1), "jobs.csv", f"{MOST_LINES:,} lines"),
        (b"[1]", "jobs.json", "JSON array"),
        (b"{\n}", "jobs.ndjson", "several lines"),
        (b"what is this", "jobs.bin", "Choose its format"),
        (b"<html>", "jobs.csv", "web page"),
        (HOSTILE.encode(), f"{HOSTILE}.bin", "Choose its format"),
    ],
)
def test_a_hostile_file_is_explained(shop: FlaskClient, data: bytes, name: str, message: str) -> None:
    page = upload(shop, data, name)
    assert page.status_code == 422
    assert message in html.unescape(page.text)
    assert "<script>alert" not in page.text


def _with(name: str, content: bytes) -> bytes:
    """A workbook with one of its parts replaced."""
    source, file = zipfile.ZipFile(io.BytesIO(workbook(["prompt"], ["a boat"]))), io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for each in source.namelist():
            made.writestr(each, content if each == name else source.read(each))
    return file.getvalue()


SHEET = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>%s</sheetData></worksheet>'
CELL = b'<row r="%d"><c r="%s" t="inlineStr"><is><t>prompt</t></is></c></row>'
LAUGHS = b'<!DOCTYPE x [<!ENTITY a "%s">%s]>' % (
    b"ha" * 100, b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 20) for n in range(8)),
)  # fmt: skip


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_with("xl/worksheets/sheet1.xml", b" " * 70_000_000), "unpacks to"),
        (_with("xl/worksheets/sheet1.xml", b"<broken"), "cannot be read"),
        (_with("xl/worksheets/sheet1.xml", LAUGHS + SHEET % b"<row><c><v>&i;</v></c></row>"), "cannot be read"),
        (_with("xl/worksheets/sheet1.xml", SHEET % (CELL % (1_000_000, b"A1000000"))), "rows"),
        (_with("xl/worksheets/sheet1.xml", SHEET % b"".join(CELL % (n, b"XFD%d" % n) for n in range(1, 300))), "cells"),
        (workbook(["=1+1"], ["a boat"]), "is empty"),
        (workbook(), "is empty"),
    ],
)
def test_a_hostile_workbook_is_explained(shop: FlaskClient, data: bytes, message: str) -> None:
    page = upload(shop, data, "jobs.xlsx")
    assert page.status_code == 422, page.text
    assert message in html.unescape(page.text)


def test_a_formula_without_a_value_refuses_its_row(shop: FlaskClient) -> None:
    page = check(shop, upload(shop, workbook(["prompt"], ["a boat"], ['="a"&"b"']), "jobs.xlsx"))
    assert "formula without a saved value" in page.text
    assert "Start 1 job<" in page.text


@pytest.mark.parametrize("draft", ["", "x", "====", "eJwLAAAAAAE=", "e" * 1000])
def test_a_draft_that_was_changed_is_refused(shop: FlaskClient, draft: str) -> None:
    page = check(shop, upload(shop, CSV), draft=draft)
    assert page.status_code == 422
    assert "Choose it again" in page.text


def test_hostile_text_stays_text(shop: FlaskClient) -> None:
    page = upload(shop, f'prompt,"{HOSTILE}"\n{HOSTILE},{"x" * 2_500}\n'.encode(), f"{HOSTILE}.csv")
    assert page.status_code == 200
    page = check(shop, page, id=HOSTILE, labels=HOSTILE, more="[" * 5_000, max_cost="1e999", template=HOSTILE)
    assert page.status_code == 422
    assert "<script>alert" not in page.text


def test_a_key_that_only_reads_may_not(log_in_as: Callable[..., FlaskClient]) -> None:
    reader = log_in_as("shop", Scope.READ)
    assert reader.get("/batches/~new").status_code == 403
    assert "New batch" not in reader.get("/batches").text
