"""Files as people have them: their kind is found by content, and what cannot hold requests is refused in one line."""

import gzip
import io
import json
import shlex
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from boomerang_client import uploading
from tests.support.command import Command
from tests.support.fake_boomerang import FakeService
from tests.support.generation_requests import REQUEST, ndjson

MODEL = ["--set", "model=kirin_image_omni"]
CSV = "prompt,n\na red boat,2\nein grünes Boot,1\n"
PROMPTS = ["a red boat", "ein grünes Boot"]


def zipped(**files: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "/"), data)
    return made.getvalue()


def prompts(service: FakeService) -> list[str]:
    return [request["prompt"] for request in service.requests.values()]


FILES = [
    pytest.param("goods.csv", CSV.encode(), id="csv"),
    pytest.param("goods.csv", CSV.encode("utf-16"), id="UTF-16"),
    pytest.param("goods.csv", CSV.encode("utf-16-le"), id="UTF-16 without a mark"),
    pytest.param("goods.csv", CSV.replace(",", ";").replace("\n", "\r\n").encode("utf-8-sig"), id="Excel"),
    pytest.param("goods.txt", CSV.replace(",", "\t").encode("utf-16"), id="Unicode text of Excel"),
    pytest.param("goods.xls", CSV.replace(",", "\t").encode(), id="text that is named xls"),
    pytest.param("goods", gzip.compress(CSV.encode()), id="gzip without its name"),
    pytest.param("goods.csv.gz", CSV.encode(), id="named gzip"),
    pytest.param("goods.csv.gz", gzip.compress(gzip.compress(CSV.encode())), id="gzip twice"),
    pytest.param("goods.csv", zipped(**{"goods.csv": CSV.encode(), "__MACOSX__._goods.csv": b"\0"}), id="zip"),
    pytest.param("goods.zip", zipped(**{"a__goods.csv.gz": gzip.compress(CSV.encode())}), id="gzip in zip"),
    pytest.param("prompts.txt", "\n".join(PROMPTS).encode(), id="prompts"),
    pytest.param("prompts.txt", "\r\n\r\n".join(PROMPTS).encode("utf-8-sig"), id="prompts of Notepad"),
    pytest.param("prompts.txt", ("\r\n".join(PROMPTS) + "\r\n\x1a").encode(), id="prompts of DOS"),
    pytest.param("goods.tsv", b"prompt\r\na red boat\r\nein gr\xc3\xbcnes Boot\r\n", id="one column"),
    pytest.param("prompts.txt", "\r\n".join(PROMPTS).encode("utf-16"), id="prompts in UTF-16"),
    pytest.param("jobs.jsonl", json.dumps([{"prompt": one} for one in PROMPTS], indent=1).encode(), id="an array"),
    pytest.param("jobs.txt", ndjson([{"prompt": one} for one in PROMPTS]), id="NDJSON named txt"),
    pytest.param("jobs.json", ndjson([{"prompt": one} for one in PROMPTS]), id="NDJSON named json"),
    pytest.param("jobs", b"\xef\xbb\xbf" + ndjson([{"prompt": one} for one in PROMPTS]), id="NDJSON with a mark"),
    pytest.param("jobs.jsonl", ndjson([{"prompt": one} for one in PROMPTS]).decode().encode("utf-16"), id="PowerShell"),
]


@pytest.mark.parametrize("by_stdin", [False, True], ids=["file", "stdin"])
@pytest.mark.parametrize(("name", "data"), FILES)
def test_files_that_are_read(
    service: FakeService, run: Command, tmp_path: Path, *, name: str, data: bytes, by_stdin: bool
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    if by_stdin:
        options = ["--format", "csv" if name.startswith("goods") else "txt"] if name[:4] != "jobs" else []
    else:
        options = ["--format", "csv"] if name in ("goods", "goods.txt") else []
    result = run("enqueue", "-" if by_stdin else str(path), *options, *MODEL, input=data if by_stdin else None)
    assert (result.exit_code, prompts(service)) == (0, PROMPTS), result.stderr


REFUSED = [
    ("goods.csv", b"%PDF-1.4 ...", "PDF"),
    ("goods.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "Save it as .xlsx"),
    ("goods.xls", b"\r\n<html><table><tr><td>prompt</td></tr></table>", "HTML"),
    ("goods.csv", b"<!DOCTYPE html><title>Log in</title>", "HTML"),
    ("goods.jsonl", b"\x89PNG\r\n\x1a\n" + bytes(20), "PNG"),
    ("goods.txt", b"\xff\xd8\xff\xe0" + bytes(20), "JPEG"),
    ("goods.parquet", b"PAR1" + bytes(20), "Parquet"),
    ("goods.docx", zipped(word__document_xml=b"").replace(b"document_xml", b"document.xml"), "Word"),
    ("goods.ods", zipped(**{"content.xml": b"", "mimetype": b""}), "OpenDocument"),
    ("goods.xlsb", zipped(**{"xl__workbook.bin": b""}), "xlsb"),
    ("goods.zip", zipped(**{"a.csv": b"", "b.csv": b""}), "2 files"),
    ("goods.zip", b"PK\x03\x04" + bytes(100), "damaged"),
    ("goods.csv.gz", gzip.compress(CSV.encode() * 5000)[:100], "cut off"),
    ("goods.jsonl.gz", gzip.compress(ndjson([REQUEST] * 5000))[:-4], "cut off"),
    ("goods.bin", bytes(range(1, 255)), "binary"),
    ("goods.rtf", b"{\\rtf1 a boat}", "RTF"),
    ("goods.zst", b"\x28\xb5\x2f\xfd" + bytes(20), "Unpack it"),
    ("goods.csv", "prompt\na café\n".encode("cp1252"), '"a café"'),
    ("goods.txt", "a red boat\nGrüße\n".encode("cp1252"), "--encoding cp1252"),
    ("goods.jsonl", CSV.encode(), "--format csv"),
    ("goods", b"a red boat\na green boat\n", "--format txt"),
    ("goods.txt", b"model,prompt\nm,a red boat\n", "--format csv"),
    ("goods.txt", b"Prompt\na red boat\n", "--format csv"),
    ("goods.xlsx", b"", "no requests"),
]


@pytest.mark.parametrize(("name", "data", "says"), REFUSED, ids=[f"{name}: {says}" for name, _, says in REFUSED])
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_files_that_are_refused(
    service: FakeService, run: Command, tmp_path: Path, *, name: str, data: bytes, says: str, as_json: bool
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    result = run(*["--json"] * as_json, "enqueue", str(path), *(MODEL if name.endswith("csv") else []))
    assert (result.exit_code in (1, 2), service.seen, result.stdout) == (True, [], "")
    assert result.stderr.count("\n") == 1
    assert says in (json.loads(result.stderr)["error"] if as_json else result.stderr)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--encoding", "cp1252"], "Leave --encoding out"),
        (["--encoding", "base64"], "no encoding"),
        (["--delimiter", '"'], "not one character"),
        (["--sheet", "Goods"], "--sheet is for .xlsx"),
        (["--format", "xlsx"], "not a workbook"),
    ],
)
def test_options_that_would_damage_a_text(
    service: FakeService, run: Command, tmp_path: Path, args: list[str], says: str
) -> None:
    path = tmp_path / "goods.csv"
    path.write_text(CSV, encoding="utf-8")
    result = run("enqueue", str(path), *MODEL, *args)
    assert (result.exit_code, service.seen) == (2, [])
    assert says in result.stderr
    path.write_text(CSV, encoding="utf-16")
    assert run("enqueue", str(path), *MODEL, "--encoding", "cp1252").exit_code == 2


def test_an_encoding_that_is_named(service: FakeService, run: Command, tmp_path: Path) -> None:
    path = tmp_path / "goods.csv"
    path.write_text(CSV, encoding="cp1252")
    assert run("enqueue", str(path), *MODEL, "--encoding", "cp1252").exit_code == 0
    assert prompts(service) == PROMPTS


def test_one_column_with_commas_in_a_file_with_tabs(service: FakeService, run: Command, tmp_path: Path) -> None:
    path = tmp_path / "goods.tsv"
    path.write_text("prompt\na boat, red\n")
    assert run("enqueue", str(path), *MODEL).exit_code == 0
    assert prompts(service) == ["a boat, red"]


def test_prompts_have_a_model_and_the_numbers_of_their_lines(
    service: FakeService, run: Command, tmp_path: Path
) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("a red boat\n\n  [style: oil] a green boat, 2 sails  \n")
    assert run("enqueue", str(path), "--id", "b", "--set", "n=2").exit_code == 0
    common = {"model": "kirin_image_omni", "n": 2}
    assert service.requests == {
        "b.1": common | {"prompt": "a red boat", "external_task_id": "b.1"},
        "b.3": common | {"prompt": "[style: oil] a green boat, 2 sails", "external_task_id": "b.3"},
    }


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "PART_LINES", 2)


GOOD = "model,prompt\n" + "".join(f"kirin_image_omni,boat {number}\n" for number in range(6))


def to_continue(stderr: str) -> list[str]:
    """The arguments of the command that continues an upload."""
    [line] = [line for line in stderr.splitlines() if "boomerang enqueue" in line and "watch" not in line]
    return shlex.split(line[line.index("boomerang enqueue") :])[1:]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        pytest.param("goods.csv", lambda text: text.replace("boat 4", '"boat "4').encode(), id="quotation mark"),
        pytest.param("goods.csv", lambda text: text.replace("boat 4", '"boat 4').encode(), id="no end"),
        pytest.param("goods.csv", lambda text: text.replace("boat 4", "boat, 4").encode(), id="a cell too many"),
        pytest.param("goods.csv", lambda text: text.replace("boat 4", "#N/A").encode(), id="an error"),
    ],
)
@pytest.mark.usefixtures("small_parts")
def test_the_corrected_file_buys_nothing_again(
    service: FakeService, run: Command, tmp_path: Path, name: str, damage: Callable[[str], bytes]
) -> None:
    path = tmp_path / name
    path.write_bytes(damage(GOOD))
    result = run("enqueue", str(path), "--expires-in", "2h")
    assert result.exit_code in (1, 2)
    [batch] = service.batches
    assert len(service.jobs) >= 4
    path.write_text(GOOD)
    again = run(*to_continue(result.stderr))
    assert (again.exit_code, list(service.batches), len(service.jobs)) == (0, [batch], 6)


@pytest.mark.usefixtures("small_parts")
def test_stdin_that_breaks_names_the_command_in_json(service: FakeService, run: Command) -> None:
    given = GOOD.replace("boat 4", '"boat "4').encode()
    result = run("--json", "enqueue", "-", "--format", "csv", input=given)
    problem = json.loads(result.stderr)
    [batch] = service.batches
    assert (result.exit_code, problem["repeat_id"]) == (2, batch)
    again = run(*shlex.split(problem["repeat_command"])[1:], input=GOOD)
    assert (again.exit_code, len(service.jobs)) == (0, 6)


@pytest.mark.usefixtures("small_parts")
def test_mistakes_behind_options_are_refused_lines(service: FakeService, run: Command, tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    mistakes = [b'{"prompt":"a","prompt":"b"}', b'{"prompt":"\\ud800"}', b'{"prompt":"a","n":NaN}', b'{"n":1e999}']
    path.write_bytes(b"\n".join([b'{"prompt":"a"}', *mistakes, b'{"prompt":"c"}']))
    service.strict = True
    result = run("enqueue", str(path), *MODEL, "--expires-in", "1h", "--id", "b")
    assert (result.exit_code, service.batches["b"]) == (1, ["b.1", "b.6"])
    assert [number for number in range(1, 7) if f"line {number}:" in result.stderr] == [2, 3, 4, 5]


def test_a_file_whose_rows_are_all_refused_makes_no_batch(service: FakeService, run: Command, tmp_path: Path) -> None:
    path = tmp_path / "goods.csv"
    path.write_text("prompt\na,b\nc,d\n")
    result = run("enqueue", str(path), *MODEL)
    assert (result.exit_code, service.seen) == (1, [])
    assert "row 3: row: has more cells" in result.stderr
    dry = run("enqueue", str(path), *MODEL, "--print")
    assert (dry.exit_code, dry.stdout) == (1, "")
