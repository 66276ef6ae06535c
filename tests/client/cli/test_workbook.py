"""Workbooks (.xlsx): what a cell becomes, which sheet is read, and what is refused."""

import io
import zipfile
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from boomerang_client import UsageError
from boomerang_client.cli import workbook
from boomerang_client.cli.cell_text import cell_text
from boomerang_client.cli.columns import Row
from boomerang_client.cli.damaged_text import NoValue
from tests.support.command import Command
from tests.support.fake_boomerang import FakeService

MODEL = ["--set", "model=kirin_image_omni"]
HEADING = ["prompt", "n"]


def saved(book: Workbook) -> bytes:
    made = io.BytesIO()
    book.save(made)
    return made.getvalue()


def book_of(*rows: list[Any], title: str = "Goods") -> Workbook:
    book = Workbook()
    sheet = book.active
    sheet.title = title
    for row in rows:
        sheet.append(row)
    return book


def edited(data: bytes, path: str, edit: Callable[[str], str]) -> bytes:
    """The workbook with one of its members changed."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, edit(content.decode()) if name == path else content)
    return made.getvalue()


def rows_of(data: bytes, sheet: str | None = None) -> tuple[list[Row], list[str]]:
    reported: list[str] = []
    return list(workbook.read_rows(io.BytesIO(data), "goods.xlsx", sheet, reported.append)), reported


@pytest.mark.parametrize(
    ("value", "number_format", "text"),
    [
        (None, None, ""),
        ("a_x000D_\nb", None, "a\nb"),
        ("007", None, "007"),
        (True, "General", "TRUE"),
        (5, "General", "5"),
        (5.0, "General", "5"),
        (0.1 + 0.2, "General", "0.3"),
        (4006381333931, "General", "4006381333931"),
        (1e20, "General", "100000000000000000000"),
        (12.5, "0.00", "12.50"),
        (12.345, '#,##0.00\\ "€"', "12.35"),
        (1234.5, "[$€-407]#,##0.00", "1234.50"),
        (2.5, "0", "3"),
        (0.19, "0%", "19%"),
        (0.125, "0.0%", "12.5%"),
        (0.195, "0.00%", "19.50%"),
        (1067, "00000", "01067"),
        (-3, "General", "-3"),
        (1e300, "0.00", "1" + "0" * 300),
        (datetime.fromisoformat("2026-11-27"), None, "2026-11-27"),
        (datetime.fromisoformat("2026-11-27T14:30"), None, "2026-11-27 14:30"),
        (datetime.fromisoformat("2026-11-27T14:29:59.999999"), None, "2026-11-27 14:30"),
        (date(2026, 1, 2), None, "2026-01-02"),
        (time(9, 5), None, "09:05"),
        (time(9, 5, 7), None, "09:05:07"),
        (timedelta(hours=30), None, "30:00:00"),
    ],
)
def test_values_are_written_as_people_see_them(value: Any, number_format: str | None, text: str) -> None:
    assert cell_text(value, number_format) == text


def test_a_workbook_is_a_table(service: FakeService, run: Command, tmp_path: Path) -> None:
    book = book_of(["Title", "Colour", "n", "image_list", "image_list", "SKU"])
    book.active.append(["boat", "red", 2, "https://e.example/1.png", "https://e.example/2.png", 42])
    book.active.append([None, " ", None])
    book.active.append(["car", None, 1, "https://e.example/3.png", None, 7])
    book.active["F2"].number_format = "00000"
    path = tmp_path / "goods.csv"  # its name does not matter
    path.write_bytes(saved(book))
    args = ["--template", "prompt={Title}, {Colour}", "--map", "labels.sku=SKU", *MODEL, "--id", "b"]
    result = run("enqueue", str(path), *args)
    assert (result.exit_code, "row 4 has nothing for Colour" in result.stderr) == (0, True)
    assert [each["prompt"] for each in service.requests.values()] == ["boat, red", "car, "]
    assert service.requests["b.2"]["labels"] == {"sku": "00042"}
    assert service.requests["b.2"]["n"] == 2
    assert [each["image"][-5:] for each in service.requests["b.2"]["image_list"]] == ["1.png", "2.png"]
    piped = run("enqueue", "-", *args, input=saved(book))
    assert (piped.exit_code, len(service.jobs)) == (0, 2)


def test_the_sheet_is_chosen_or_named(service: FakeService, run: Command, tmp_path: Path) -> None:
    book = book_of(HEADING, ["a", 1], title="Goods 1")
    book.create_sheet("Empty")
    notes = book.create_sheet("Notes")
    notes.append(HEADING)
    notes.append(["hidden", 1])
    notes.sheet_state = "hidden"
    path = tmp_path / "goods.xlsx"
    path.write_bytes(saved(book))
    assert run("enqueue", str(path), *MODEL, "--id", "b").exit_code == 0
    assert [each["prompt"] for each in service.requests.values()] == ["a"]
    assert run("enqueue", str(path), *MODEL, "--id", "c", "--sheet", "notes").exit_code == 0
    assert service.requests["c.2"]["prompt"] == "hidden"
    notes.sheet_state = "visible"
    path.write_bytes(saved(book))
    seen = len(service.seen)
    for args, says in ([], "--sheet 'Goods 1'"), (["--sheet", "Other"], "Goods 1, Empty, Notes"):
        result = run("enqueue", str(path), *MODEL, *args)
        assert (result.exit_code, says in result.stderr, len(service.seen)) == (2, True, seen)


def test_formulas_have_the_value_that_was_saved() -> None:
    data = saved(book_of(["prompt"], ["=A9"], ["=1/0"], ['=""'], ["=1+1"], ["plain"]))
    cached = {"A2": '<v>a boat</v></c>|t="str"', "A3": '<v>#DIV/0!</v></c>|t="e"', "A4": '<v></v></c>|t="str"'}

    def calculate(xml: str) -> str:
        for cell, what in cached.items():
            value, kind = what.split("|")
            start = xml.index(f'<c r="{cell}"')
            end = xml.index("</c>", start) + 4
            formula = xml[xml.index("<f>", start) : xml.index("</f>", start) + 4]
            xml = f'{xml[:start]}<c r="{cell}" {kind}>{formula}{value}{xml[end:]}'
        return xml

    rows, _ = rows_of(edited(data, "xl/worksheets/sheet1.xml", calculate))
    assert [row.cells[0] for row in rows[1:4]] == ["a boat", "#DIV/0!", ""]
    assert isinstance(rows[4].cells[0], NoValue)
    assert rows[5].cells[0] == "plain"


def test_rows_that_cannot_be_used_are_named(service: FakeService, run: Command, tmp_path: Path) -> None:
    path = tmp_path / "goods.xlsx"
    path.write_bytes(saved(book_of(HEADING, ["=A1", 1], ["#N/A", 1], ["a boat", 1])))
    result = run("enqueue", str(path), *MODEL, "--id", "b")
    assert (result.exit_code, service.batches["b"]) == (1, ["b.4"])
    assert "row 2: row: column prompt has a formula without a saved value" in result.stderr
    assert "row 3: row: column prompt has the error #N/A" in result.stderr


def test_merged_cells_missing_rows_and_hidden_rows() -> None:
    book = book_of(["Kind", "Title"], ["boat", "red"], [None, "green"], [None, None], [None, "blue"])
    sheet = book.active
    sheet.merge_cells("A2:A4")
    sheet["B9"] = "far away"
    sheet.row_dimensions[3].hidden = True
    rows, reported = rows_of(saved(book))
    filled = [(row.number, row.cells[0], row.cells[1]) for row in rows if not row.is_empty]
    assert filled == [
        (1, "Kind", "Title"),
        (2, "boat", "red"),
        (3, "boat", "green"),
        (5, "", "blue"),
        (9, "", "far away"),
    ]
    assert ["1 hidden rows" in text for text in reported] == [True]


def test_wrong_dimensions_do_not_cut_the_sheet() -> None:
    data = saved(book_of(HEADING, ["a", 1], ["b", 2]))
    wrong = edited(data, "xl/worksheets/sheet1.xml", lambda xml: xml.replace('ref="A1:B3"', 'ref="A1"'))
    assert wrong != data
    assert [row.cells for row in rows_of(wrong)[0]] == [HEADING, ["a", "1"], ["b", "2"]]


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda data: data[: len(data) // 2], "damaged"),
        (lambda data: edited(data, "xl/worksheets/sheet1.xml", lambda xml: xml[:-30]), "cannot be read"),
        (lambda data: edited(data, "xl/workbook.xml", lambda _: "no XML"), "cannot be read"),
        (lambda data: edited(data, "xl/styles.xml", lambda xml: xml.replace("cellXfs", "other")), ""),
        pytest.param(
            lambda data: edited(data, "xl/worksheets/sheet1.xml", lambda xml: xml.replace('r="2"', 'r="99999999999"')),
            "more than",
            marks=pytest.mark.slow,  # the rows up to the limit are read
        ),
    ],
    ids=["cut off", "sheet", "no XML", "styles", "row number"],
)
def test_damaged_workbooks_are_refused(
    service: FakeService, run: Command, tmp_path: Path, edit: Callable[[bytes], bytes], says: str
) -> None:
    path = tmp_path / "goods.xlsx"
    path.write_bytes(edit(saved(book_of(HEADING, ["a", 1]))))
    result = run("enqueue", str(path), *MODEL)
    if says:
        assert (result.exit_code, service.batches, says in result.stderr) == (2, {}, True), result.stderr


def test_a_workbook_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "MOST_BYTES_IN_MEMORY", 1_000_000)
    bomb = edited(saved(book_of(HEADING)), "xl/styles.xml", lambda xml: xml + " " * 2_000_000)
    assert len(bomb) < 20_000
    with pytest.raises(UsageError, match="too much"):
        rows_of(bomb)
    monkeypatch.setattr(workbook, "MOST_BYTES", 1_000_000)
    monkeypatch.setattr(workbook, "MOST_BYTES_IN_MEMORY", 10_000_000)
    bomb = edited(saved(book_of(HEADING)), "xl/worksheets/sheet1.xml", lambda xml: xml + " " * 2_000_000)
    with pytest.raises(UsageError, match="too much"):
        rows_of(bomb)
