"""What `boomerang enqueue` reads: lines, JSON, tables."""

import io
import json
from typing import Any

import pytest

from boomerang_client import LineError, UsageError
from boomerang_client.cli import columns, json_values
from boomerang_client.cli.columns import Columns
from boomerang_client.cli.inputs import read_csv, read_json, read_ndjson


def read(source: Any) -> list[tuple[int, Any]]:
    return [(number, line) for number, line in source]


def test_lines_pass_as_they_are_unless_they_lack_something() -> None:
    data = b'{"n": 2}\n\nnot JSON\n{}\n'
    assert read(read_ndjson(io.BytesIO(data), {})) == list(enumerate(data.splitlines(keepends=True), start=1))
    assert read(read_ndjson(io.BytesIO(data), {"n": 1})) == [
        (1, {"n": 2}),
        (2, b"\n"),
        (3, b"not JSON\n"),
        (4, {"n": 1}),
    ]


@pytest.mark.parametrize(
    "text",
    [
        '[{"a": 1}, {"a": [2, "]"]}]',
        ' [\n {"a": 1},\n {"a": [2, "]"]}\n ]\n',
        '{"a": 1}\n{"a": [2, "]"]}',
        '{\n"a":\n1}{"a": [2, "]"]}\n',
        '\ufeff[{"a": 1}, {"a": [2, "]"]}]',
    ],
    ids=["array", "spread out", "one a line", "objects over lines", "byte order mark"],
)
@pytest.mark.parametrize("chunk", [1, 7, 65536])
def test_json_in_every_form(text: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_values, "_CHUNK", chunk)
    found = read(read_json(io.BytesIO(text.encode()), {"b": 0}))
    assert found == [(1, {"b": 0, "a": 1}), (2, {"b": 0, "a": [2, "]"]})]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[{"a": 1},\n {"a": }]', "from line 2 on"),
        ('[{"a": 1}', "incomplete"),
        ("{", "from line 1 on"),
        ("nonsense", "from line 1 on"),
        (b'["\xff"]', "UTF-8"),
    ],
)
def test_json_that_is_none(text: Any, says: str) -> None:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(UsageError, match=says):
        read(read_json(io.BytesIO(data), {}))


def test_json_values_that_are_no_requests_are_the_services_to_judge() -> None:
    assert read(read_json(io.BytesIO(b'[1, "a", {}]'), {})) == [(1, b"1"), (2, b'"a"'), (3, {})]


def table(text: str, *mapped: str, **more: Any) -> list[tuple[int, Any]]:
    columns: dict[str, list[str]] = {}
    for each in mapped:
        member, _, column = each.partition("=")
        columns.setdefault(member, []).append(column)
    plan = Columns(columns, more.pop("templates", {}))
    encoding = more.get("encoding", "utf-8-sig")
    return read(read_csv(io.BytesIO(text.encode(encoding)), plan, more.pop("defaults", {"model": "m"}), **more))


def test_columns_named_as_members_need_no_mapping() -> None:
    text = "prompt,n,labels.shop,expires_in,SKU\na cat,2,berlin,2h,1\n,,,,\na dog,,,,2\n"
    assert table(text) == [
        (2, {"model": "m", "prompt": "a cat", "n": 2, "labels": {"shop": "berlin"}, "expires_in": 7200}),
        (4, {"model": "m", "prompt": "a dog"}),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_seen_in_the_heading(delimiter: str) -> None:
    text = f'Title{delimiter}Price\r\n"a, ""b"";\nc"{delimiter}3\r\n'
    assert table(text, "prompt=Title") == [(2, {"model": "m", "prompt": 'a, "b";\nc'})]


def test_a_delimiter_and_an_encoding_may_be_named() -> None:
    assert table("Title:x\ncafé:1\n", "prompt=Title", delimiter=":", encoding="cp1252")[0][1]["prompt"] == "café"
    with pytest.raises(UsageError, match="--encoding cp1252"):
        read(read_csv(io.BytesIO("prompt\ncafé\n".encode("cp1252")), Columns(), {}))


def test_templates_and_columns_of_images_become_members() -> None:
    text = "Title,Front,Back,All\nBoat, a.jpg ,b.jpg,c.jpg | d.jpg\nCar,,b.jpg,\n"
    mapped = ("image_list=Front", "image_list=Back", "subject_image_list=All")
    found = table(text, *mapped, templates={"prompt": "A {Title}!"})
    assert found == [
        (
            2,
            {
                "model": "m",
                "prompt": "A Boat!",
                "image_list": [{"image": "a.jpg"}, {"image": "b.jpg"}],
                "subject_image_list": [{"subject_image": "c.jpg"}, {"subject_image": "d.jpg"}],
            },
        ),
        (3, {"model": "m", "prompt": "A Car!", "image_list": [{"image": "b.jpg"}]}),
    ]


def test_what_is_no_number_stays_a_text_for_the_service_to_name() -> None:
    assert table("prompt,n,expires_in\na,two,soon\n")[0][1] == {
        "model": "m", "prompt": "a", "n": "two", "expires_in": "soon",
    }  # fmt: skip
    made: dict[str, Any] = {}
    columns.assign(made, "watermark_info.enabled", "True")
    assert made == {"watermark_info": {"enabled": True}}


def test_columns_that_are_left_out_are_reported() -> None:
    reported: list[str] = []
    table("prompt,SKU,Price\na,1,2\n", report=reported.append)
    assert reported == ["Columns that are not used: SKU, Price"]


def test_other_columns_come_along_as_metadata_within_its_limits() -> None:
    reported: list[str] = []
    wide = ",".join(f"c{number}" for number in range(70))
    text = f"prompt,Notes,Twice,Twice,{wide}\na,{'x' * 9000},1,2,{','.join('y' * 70)}\n"
    ((_, request),) = read(
        read_csv(io.BytesIO(text.encode()), Columns(carry=True), {"model": "m"}, report=reported.append)
    )
    assert request["metadata"] == {f"c{number}": "y" for number in range(63)}
    assert "Notes" in reported[0]
    assert reported[1] == f"Columns that are not used: Twice, Twice, {', '.join(f'c{n}' for n in range(63, 70))}"
    assert reported[2:] == ["Warning: row 2 has too much text for metadata, without Notes."]


@pytest.mark.parametrize(
    ("text", "mapped", "says"),
    [
        ("Title,x\na,b\n", ["prompt=Titel"], 'no column "Titel". Did you mean "Title"?'),
        ("a,b\n1,2\n", ["prompt=zzz"], "The columns are: a, b."),
        ("a,b\n1,2\n", [], "Choose one: --map prompt=COLUMN"),
        ('prompt,n\n"a\nb",1,surplus\n', [], "Row 2 has more cells"),
        ("prompt,prompt\na,b\n", [], 'the column "prompt" 2 times'),
        ("Title,Title\na,b\n", ["prompt=Title"], 'the column "Title" 2 times'),
        ('prompt,n\n"a"b,1\n', [], "After row 1"),
    ],
)
def test_tables_that_cannot_be_read(text: str, mapped: list[str], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        table(text, *mapped)
    assert says in str(caught.value)


def test_a_row_that_cannot_be_used_does_not_stop_the_others() -> None:
    text = "prompt,n\na,1,surplus\nb,2\n#REF!,3\ncafÃ©,4\nlost \ufffd,5\nc,6\na\x01b,7\n"
    found = dict(table(text))
    assert [number for number, line in found.items() if isinstance(line, LineError)] == [2, 4, 5, 6, 8]
    assert "more cells" in str(found[2].errors)
    assert "#REF!" in str(found[4].errors)
    assert "café" in str(found[5].errors)
    assert found[7] == {"model": "m", "prompt": "c", "n": 6}


def test_columns_of_images_may_repeat() -> None:
    text = "prompt,image_list,image_list,Title,Title\na,1.png,2.png|3.png,x,y\n"
    assert table(text)[0][1]["image_list"] == [{"image": f"{number}.png"} for number in (1, 2, 3)]


def test_headings_with_line_breaks() -> None:
    text = 'Title,"Unit\r\nPrice","a, ""b"""\r\nboat,5,6\r\n'
    assert table(text, "prompt=Title", "labels.price=Unit Price", 'labels.b=a, "b"') == [
        (2, {"model": "m", "prompt": "boat", "labels": {"price": "5", "b": "6"}})
    ]
    assert table(text, "prompt=Unit\nPrice", templates={"resolution": "{Unit\nPrice} {Title}"})[0][1] == {
        "model": "m", "prompt": "5", "resolution": "5 boat",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("\n,,\nprompt,n\na,1\n", 4),
        ("sep=;\nprompt;n\na;1\n", 2),
        ("prompt,n\r\ra,1\r", 3),
    ],
    ids=["empty rows before the heading", "Excel's first line", "carriage returns"],
)
def test_rows_before_the_heading(text: str, number: int) -> None:
    assert table(text) == [(number, {"model": "m", "prompt": "a", "n": 1})]


def test_numbers_as_people_have_them() -> None:
    digits = "9" * 5000
    text = f"prompt,n,expires_in\na,2.0,{digits}\nb,{digits},90\nc,2.5,1.5h\n"
    common = {"model": "m"}
    assert [line for _, line in table(text)] == [
        common | {"prompt": "a", "n": 2, "expires_in": digits},
        common | {"prompt": "b", "n": digits, "expires_in": 90},
        common | {"prompt": "c", "n": "2.5", "expires_in": 5400},
    ]


def test_a_template_over_an_empty_cell_is_reported() -> None:
    reported: list[str] = []
    rows = "".join(f"boat {number},\n" for number in range(2, 9))
    found = table(f"Title,Colour\n{rows}car,red\n", templates={"prompt": "{Title}, {Colour}"}, report=reported.append)
    assert len(found) == 8
    assert ["row 2 has nothing for Colour" in reported[0], "7 rows" in reported[-1], len(reported)] == [True, True, 4]


def test_defaults_do_not_hide_mistakes_and_keep_labels() -> None:
    lines = [b'{"prompt":"a","prompt":"b"}', b'{"n":NaN}', b'{"n":1e999}', b'{"prompt":"\\ud800"}', b'{"p":"\xff"}']
    given = b"\n".join([*lines, b'{"labels": {"a": "1"}}'])
    found = read(read_ndjson(io.BytesIO(given), {"n": 1, "labels": {"b": "2"}}))
    assert [line.rstrip() for _, line in found[:5]] == lines
    assert found[5] == (6, {"n": 1, "labels": {"a": "1", "b": "2"}})
    digits = b'{"n":' + b"9" * 5000 + b"}"
    assert read(read_json(io.BytesIO(b"[" + digits + b",{}]"), {"n": 1})) == [(1, digits), (2, {"n": 1})]
    array = b'[{"prompt":"a",\n"prompt":"b"},{"n":NaN},{"prompt":"\\ud800"}]'
    assert read(read_json(io.BytesIO(array), {"n": 1})) == [
        (1, b'{"prompt":"a", "prompt":"b"}'),
        (2, b'{"n":NaN}'),
        (3, b'{"prompt":"\\ud800"}'),
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    lines = b'\xef\xbb\xbf{"n": 1}\r\n{"n": 2}\r\n'
    for defaults in ({}, {"model": "m"}):
        found = read(read_ndjson(io.BytesIO(lines), defaults))
        assert [json.loads(line) if isinstance(line, bytes) else line for _, line in found] == [
            defaults | {"n": 1},
            defaults | {"n": 2},
        ]


def test_nothing_is_whole_in_memory() -> None:
    class Endless(io.RawIOBase):
        def __init__(self, unit: bytes) -> None:
            self.unit, self.read_bytes = unit, 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            data = (self.unit * (len(buffer) // len(self.unit)))[: len(buffer)]
            buffer[: len(data)] = data
            self.read_bytes += len(data)
            return len(data)

    for reader, unit in ((read_json, b'{"a": 1}\n'), (read_ndjson, b'{"a": 1}\n')):
        file = Endless(unit)
        source = reader(io.BufferedReader(file, 9000), {})
        assert [next(source).number for _ in range(1000)] == list(range(1, 1001))
        assert file.read_bytes < 1_000_000
