"""show, list, lanes, spend: tables on a terminal, plain output in a pipe."""

import json

import pytest

from tests.support.command import Command, without_styles
from tests.support.fake_boomerang import LANE, FakeService
from tests.support.generation_requests import REQUEST, ndjson

TERMINAL = {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm"}
LONG = "a-long-name-of-a-lane-" * 4


def on_terminal(run: Command, width: int, *words: str) -> list[str]:
    """Return the lines on a terminal of this width, without styles."""
    result = run(*words, env=TERMINAL | {"COLUMNS": str(width)})
    return without_styles(result.stdout).splitlines()


def plain(text: str) -> bool:
    return all(letter == "\n" or letter.isprintable() for letter in text)


def test_show_prints_a_jobs_images_or_its_error(service: FakeService, run: Command, spring: str) -> None:
    service.end("spring.1")
    service.end("spring.3")
    done, failed = run("show", "spring.1"), run("show", "spring.3")
    assert "status     completed\n" in done.stdout
    assert "image      https://images.example/spring.1.png\n" in done.stdout
    assert "took       12.5 s\n" in done.stdout
    assert "error      002016095 Internal \N{REPLACEMENT CHARACTER}[31merror\n" in failed.stdout
    assert plain(done.output + failed.output)
    assert json.loads(run("show", "spring.1", "--json").stdout)["usage"]["cost"] == "0.0065"


@pytest.mark.parametrize(("sent", "shown"), [("$0.0065", "'$0.0065'"), ("", "none")])
def test_show_says_that_a_cost_is_unknown(
    service: FakeService, run: Command, spring: str, sent: str, shown: str
) -> None:
    service.end("spring.1")
    assert "unknown" not in run("show", "spring.1").stdout
    service.jobs["spring.1"] |= {"usage": None, "unknown_cost": sent}
    assert f"the provider sent {shown}\n" in run("show", "spring.1").stdout


def test_show_prints_a_batchs_counts_and_cost(service: FakeService, run: Command, file: str) -> None:
    run("enqueue", file, "--id", "spring", "--label", "shop=7", "--max-cost", "$5")
    result = run("show", "spring")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "jobs       2 of 2 ended: 1 completed, 1 failed\n" in result.stdout
    assert "labels     shop=7\n" in result.stdout
    assert "cost       1.23 USD (2.00 expected, at most 5)\n" in result.stdout
    assert json.loads(run("--json", "show", "spring").stdout)["id"] == "spring"


def test_list_filters_jobs_and_prints_a_line_each(service: FakeService, run: Command, spring: str) -> None:
    service.end("spring.1")
    service.end("spring.3")
    result = run("list", "--status", "completed", "--batch", "spring")
    cells = ["spring.1", "completed", "kirin_image_omni", "2026-11-20T10:00:00+00:00", "spring", "0.0065", ""]
    assert result.stdout == "\t".join(cells) + "\n"
    assert run("list", "--status", "failed").stdout.rstrip("\n").endswith("\t002016095")
    assert [json.loads(line)["id"] for line in run("list", "--json").stdout.splitlines()] == ["spring.1", "spring.3"]
    run("list", "--label", "shop=7", "--since", "2026-11-20T10:00:00Z")
    assert service.seen[-1].query["created_after"] == "2026-11-20T10:00:00+00:00"


def test_list_jobs_of_a_batch_that_does_not_exist(service: FakeService, run: Command, spring: str) -> None:
    result = run("list", "--batch", "summer")
    assert (result.exit_code, "no batch summer" in result.stderr) == (1, True)
    result = run("list", "--batch", "spring.1")
    assert (result.exit_code, "that is a job" in result.stderr) == (1, True)


def test_list_counts_failed_and_cancelled_jobs_of_batches_apart(
    service: FakeService, run: Command, spring: str
) -> None:
    run("enqueue", "-", "--id", "b", "--label", "shop=7", input=ndjson([REQUEST | {"external_task_id": "x"}] * 1))
    service.end("spring.1")
    service.end("spring.3")
    service.jobs["x"]["status"] = "cancelled"
    # Given a batch with a failed job and one with a cancelled job, Then these are two numbers
    created = "2026-11-20T10:00:00+00:00"
    assert run("list", "batches").stdout.splitlines() == [
        f"b\tdone\t1\t1\t0\t1\t0\t1.23\t{created}\tshop=7",
        f"spring\tdone\t2\t2\t1\t0\t0\t1.23\t{created}\t",
    ]
    found = run("list", "batches", "--label", "shop=7", "--since", "2h", "--until", "2026-11-21", "--json")
    assert [json.loads(line)["id"] for line in found.stdout.splitlines()] == ["b"]
    assert {"created_after", "created_before", "label", "limit"} <= set(service.seen[-1].query)
    for what in ("jobs", "batches"):
        run("list", what, "--producer", "shop")
        assert service.seen[-1].query["producer"] == "shop"


@pytest.mark.parametrize(("state", "ids"), [("running", ["c"]), ("paused", ["b"]), ("done", ["a"])])
def test_list_batches_by_state(service: FakeService, run: Command, state: str, ids: list[str]) -> None:
    service.still = True
    for name in "abc":
        run("enqueue", "-", "--id", name, input=ndjson([REQUEST]))
    service.end("a.1")
    run("pause", "b")
    assert [line.split("\t")[0] for line in run("list", "batches", "--status", state).stdout.splitlines()] == ids
    assert service.seen[-1].query["status"] == state


@pytest.mark.parametrize(
    "args",
    [["batches", "--status", "failed"], ["jobs", "--status", "running"], ["batches", "--batch", "b"]],
    ids=" ".join,
)
def test_filters_that_do_not_apply_are_an_error(service: FakeService, run: Command, args: list[str]) -> None:
    result = run("list", *args)
    assert (result.exit_code, service.seen) == (2, [])
    assert "--status" in result.stderr or "--batch" in result.stderr


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("what", ["jobs", "batches"])
def test_a_table_never_truncates_ids(service: FakeService, run: Command, what: str, width: int) -> None:
    service.still = True
    for number in range(3):
        run("enqueue", "-", "--id", f"{LONG}{number}", input=ndjson([REQUEST]))
    heading, *rows = on_terminal(run, width, "list", what)
    ids = [f"{LONG}{number}{'.1' if what == 'jobs' else ''}" for number in range(3)]
    assert sorted(row.split()[0] for row in rows) == ids
    assert heading.split()[0] == ("job" if what == "jobs" else "batch")


def test_a_table_fits_the_terminal_if_its_ids_do(service: FakeService, run: Command, spring: str) -> None:
    for what in ("jobs", "batches"):
        wide, narrow = on_terminal(run, 200, "list", what), on_terminal(run, 40, "list", what)
        assert "created" in wide[0]
        assert max(map(len, narrow)) <= 40
        assert [row.split()[0] for row in narrow] == [row.split()[0] for row in wide]


def test_an_empty_list_is_reported_on_terminals_only(service: FakeService, run: Command) -> None:
    assert run("list").output == ""
    done = run("list", "batches", env=TERMINAL)
    assert (done.stdout, done.stderr) == ("", "No batches match.\n")


def test_lanes_prints_the_state_and_the_load_of_each_lane(service: FakeService, run: Command) -> None:
    service.lanes.append(LANE | {"name": LONG, "held": False, "reason": None, "limit": 0, "spent": None, "slots": 7})
    service.lanes.append(LANE | {"name": "old", "held": False, "reason": None, "configured": False})
    service.lanes.append(LANE | {"name": "away", "breaker": "open", "held_until": "2026-11-20T10:00:00+00:00"})
    assert [line.split("\t") for line in run("lanes").stdout.splitlines()] == [
        ["main", "paused", "12", "64", "3400", "1.23", "402: balance exhausted"],
        [LONG, "healthy", "7", "", "3400", "", ""],
        ["old", "not configured", "12", "64", "3400", "1.23", ""],
        ["away", "paused", "12", "64", "3400", "1.23", "402: balance exhausted"],
    ]
    lines = on_terminal(run, 80, "lanes")
    assert "healthy" in lines[2]
    assert LONG in lines[2]
    assert lines[1].endswith("paused: 402: balance exhausted")
    assert "paused: 402: balance exhausted (until " in lines[4]
    assert not any("open" in line for line in lines)
    assert [json.loads(line)["name"] for line in run("--json", "lanes").stdout.splitlines()][:2] == ["main", LONG]


def test_spend_groups_and_filters_what_was_spent(service: FakeService, run: Command) -> None:
    assert run("spend").stdout == "2026-11-20\t3\t1.23\n"
    assert service.seen[-1].query == {"by": "day"}
    assert json.loads(run("spend", "--by", "model", "--from", "2026-11-01", "--json").stdout)["cost"] == "1.23"
    assert service.seen[-1].query == {"by": "model", "from": "2026-11-01"}
    run("spend", "--producer", "shop", "--lane", "eu")
    assert service.seen[-1].query == {"by": "day", "key": "shop", "lane": "eu"}
    assert "total" in run("spend", env=TERMINAL).stdout
    assert run("spend", "--from", "yesterday").exit_code == 2
    assert run("spend", "--by", "month").exit_code == 2
    run("spend", "--by", "label:team")
    assert service.seen[-1].query["by"] == "label:team"
