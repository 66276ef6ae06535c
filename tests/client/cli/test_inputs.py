"""What `boomerang enqueue` reads: lines, JSON, tables."""

import io
from typing import Any

import pytest

from boomerang_client import UsageError
from boomerang_client.cli import inputs
from boomerang_client.cli.inputs import Columns, read_csv, read_json, read_ndjson


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
    monkeypatch.setattr(inputs, "_CHUNK", chunk)
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


def test_templates_and_images() -> None:
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
    inputs.assign(made, "watermark_info.enabled", "True")
    assert made == {"watermark_info": {"enabled": True}}


def test_columns_that_are_left_out_are_reported() -> None:
    told: list[str] = []
    table("prompt,SKU,Price\na,1,2\n", unused=told.extend)
    assert told == ["SKU", "Price"]


@pytest.mark.parametrize(
    ("text", "mapped", "says"),
    [
        ("Title,x\na,b\n", ["prompt=Titel"], 'no column "Titel". Did you mean "Title"?'),
        ("a,b\n1,2\n", ["prompt=zzz"], "The columns are: a, b."),
        ("a,b\n1,2\n", [], "Choose one: --map prompt=COLUMN"),
        ("", [], "No column is used"),
        ("prompt,n\na,1,surplus\n", [], "Row 2 has more cells"),
        ('prompt,n\n"a"b,1\n', [], "After row 1"),
    ],
)
def test_tables_that_cannot_be_read(text: str, mapped: list[str], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        table(text, *mapped)
    assert says in str(caught.value)


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
