"""The page reads files by the rules of the client, with which the service shares no code."""

import io
import json
import random
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from boomerang_client.cli.cell_text import cell_text as client_cell_text
from boomerang_client.cli.columns import MEMBERS as CLIENT_MEMBERS
from boomerang_client.cli.columns import OBJECTS as CLIENT_OBJECTS
from boomerang_client.cli.columns import Columns
from boomerang_client.cli.damaged_text import FORMULA_WITHOUT_VALUE
from boomerang_client.cli.damaged_text import damage_of as client_damage_of
from boomerang_client.cli.input_file import Reading, open_input
from boomerang_client.errors import LineError, UsageError
from boomerang_client.local_images import IMAGE_LISTS as CLIENT_IMAGE_LISTS
from tests.support.examples import examples
from webhook.drafts import columns
from webhook.drafts.cell_text import cell_text
from webhook.drafts.columns import AS_METADATA, IMAGE_LISTS, MEMBERS, OBJECTS, PREFIXES, Mapped, requests
from webhook.drafts.damaged_text import damage_of
from webhook.drafts.draft import Draft, unpack
from webhook.drafts.errors import FileRefused
from webhook.drafts.files import read_file

#: A number, its request, and whether it is refused.
Read = list[tuple[int, Any, bool]]


def by_client(data: bytes, name: str, *, carry: bool) -> Read:
    opened = open_input(io.BytesIO(data), name, Reading(columns=Columns(carry=carry)))
    found = list[tuple[int, Any, bool]]()
    for number, line in opened.requests({}, lambda _: None):
        if isinstance(line, LineError):
            found.append((number, None, True))
        elif not isinstance(line, bytes) or line.strip():
            found.append((number, json.loads(line) if isinstance(line, bytes) else dict(line), False))
    return found


def by_page(data: bytes, name: str, *, carry: bool) -> Read:
    draft = unpack(read_file(data, name).pack())
    uses = tuple(
        each if each in MEMBERS or each.startswith(PREFIXES) else AS_METADATA if carry and each else ""
        for each in draft.header
    )
    return [
        (line.number, None if line.errors else json.loads(line.request), bool(line.errors))
        for line in requests(draft, Mapped(uses))
    ]


def test_the_names_are_the_same() -> None:
    assert (MEMBERS, OBJECTS, IMAGE_LISTS) == (CLIENT_MEMBERS, CLIENT_OBJECTS, CLIENT_IMAGE_LISTS)


def saved(book: Workbook) -> bytes:
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def book(*rows: list[Any], formats: str = "General", merge: str = "") -> bytes:
    made = Workbook()
    for row in rows:
        made.active.append(row)
    for cells in made.active.iter_rows(min_row=2):
        for cell in cells:
            cell.number_format = formats
    if merge:
        made.active.merge_cells(merge)
    return saved(made)


@pytest.mark.parametrize("carry", [True, False])
@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"prompt,n,Note\na,2.0,x\n,,\nb,many,\n\nc,,  y \n", "a.csv"),
        (b'sep=;\nprompt;n\n"a;b";2\n"two\nlines";3\n', "a.csv"),
        (b"prompt|image_list|image_list\na|https://a/1|https://a/2\n", "a.csv"),
        (b"prompt,image_list\na,https://a/1 | https://a/2\n", "a.csv"),
        (b"prompt,n\na,1,surplus\nb,2,\n", "a.csv"),
        (b"prompt,expires_in,watermark_info.enabled,labels.shop,metadata.x\na,2h,TRUE,berlin, y \n", "a.csv"),
        (b"prompt,Note\n#N/A,x\nok,\x7f\nfine,#REF!\n", "a.csv"),
        ("prompt\nCafÃ©\nok\n".encode(), "a.csv"),
        (b"prompt\ttext\na\tb\n", "a.tsv"),
        ("prompt,n\nFüchse,1\n".encode("utf-16"), "a.csv"),
        (b'\xef\xbb\xbf{"prompt": "a"}\n\n{"prompt": "b", "n": 2}\r\n', "a.ndjson"),
        ("a\u2028b\n\n  c\r\nd\re".encode(), "a.txt"),
        (book(["prompt", "n", "Nr"], ["a", 2, 7], ["b", 1.0, 12], formats="000"), "a.xlsx"),
        (book(["prompt", "n"], ["a", "=1+1"]), "a.xlsx"),
        (book(["prompt", "n"], ["a boat", 1], [None, 2], ["a fox", 3], merge="A2:A3"), "a.xlsx"),
    ],
)
def test_a_file_is_read_as_the_client_reads_it(data: bytes, name: str, carry: bool) -> None:
    assert by_page(data, name, carry=carry) == by_client(data, name, carry=carry)


CELLS = st.text(st.sampled_from('ab ,;\t|"\n\r#é0129.'), max_size=6)


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(st.lists(CELLS, min_size=2, max_size=3), max_size=5), st.sampled_from(",;"))
def test_any_table_is_read_as_the_client_reads_it(rows: list[list[str]], delimiter: str) -> None:
    quoted = [delimiter.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in [["prompt", "n"], *rows]]
    data = "\r\n".join(quoted).encode()
    try:
        wanted = by_client(data, "a.csv", carry=False)
    except UsageError:
        with pytest.raises(FileRefused):
            by_page(data, "a.csv", carry=False)
        return
    if not wanted:
        with pytest.raises(FileRefused, match="no lines"):
            by_page(data, "a.csv", carry=False)
        return
    assert by_page(data, "a.csv", carry=False) == wanted


FORMATS = ["General", "0", "000", "0.00", "0%", "#,##0.00", '"Nr" 0', "[$€-407]0.0"]


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**12), 10**12), st.sampled_from(FORMATS))
def test_cells_have_the_text_that_the_client_gives_them(value: float, number_format: str) -> None:
    assert cell_text(value, number_format) == client_cell_text(value, number_format)


@given(st.text(st.sampled_from("aÃ©Â°#N/A\x00\x7f \ufffdé"), max_size=8) | st.just("#N/A"))
def test_damage_is_what_the_client_calls_damage(text: str) -> None:
    assert damage_of(text) == client_damage_of(text)
    assert damage_of(None) == client_damage_of(FORMULA_WITHOUT_VALUE)


def test_a_large_metadata_is_trimmed_as_by_the_client() -> None:
    chance = random.Random(7)
    header = ["prompt", *(f"c{each}" for each in range(12))]
    rows = [["a", *("x" * chance.randrange(2_000) for _ in header[1:])] for _ in range(20)]
    data = "\n".join(",".join(row) for row in [header, *rows]).encode()
    assert by_page(data, "a.csv", carry=True) == by_client(data, "a.csv", carry=True)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_draft_or_refused(data: bytes) -> None:
    for name in ("a.csv", "a.ndjson", "a.txt", "a.xlsx", ""):
        with suppress(FileRefused):
            draft = read_file(data, name)
            assert unpack(draft.pack()) == draft
            list(requests(draft, Mapped(columns.guess(draft.header))))


def test_a_draft_comes_back_as_it_was() -> None:
    draft = Draft("csv", "ü.csv", ("prompt",), ((2, ("a\ud800",)), (3, (None, ""))), ("note",))
    assert unpack(draft.pack()) == draft
