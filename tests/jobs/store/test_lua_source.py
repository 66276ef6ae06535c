"""Field names in the Lua source are replaced with their letters in the scripts that Redis runs."""

import pytest

from jobs.fields import names
from jobs.store.lua_source import UnknownField, runnable, with_values


@pytest.mark.parametrize(
    ("source", "script"),
    [
        pytest.param("if job.state == 'queued' then", "if job.s == 'queued' then", id="a job"),
        pytest.param("change.task_id = ARGV[3]", "change.t = ARGV[3]", id="a change"),
        pytest.param("x(facts.labels, job.lookups)", "x(facts.l, job.l)", id="facts have their own letters"),
        pytest.param("HGET(key, FIELD.created_at)", "HGET(key, 'c')", id="the letter itself"),
        pytest.param("match(f, '^' .. BATCH.place .. '(.*)$')", "match(f, '^at:(.*)$')", id="joined text"),
        pytest.param("PAYER.lane .. lane", "'l' .. lane", id="text before a variable"),
        pytest.param("place .. '|' .. PAYER.key", "place .. '|k'", id="text after a variable"),
        pytest.param("RECORD{paused = f(a, b == c), lane = l}", "{H = f(a, b == c), L = l}", id="a table"),
        pytest.param("RECORD{\n  paused = '1',\n  lane = l}", "{\n  H = '1',\n  L = l}", id="a table in lines"),
        pytest.param("answer(job.id, job.now)", "answer(job.id, job.now)", id="not a field of the record"),
        pytest.param("'job ' .. job.id", "'job ' .. job.id", id="text"),
        pytest.param("other.state = row.job.state", "other.state = row.job.state", id="another table"),
        pytest.param("a = '--b' -- job.nonsense", "a = '--b'", id="a comment"),
    ],
)
def test_field_names_are_replaced_with_letters(source: str, script: str) -> None:
    assert runnable(source) == script


@pytest.mark.parametrize(
    "source",
    [
        "job.s",
        "job.stat",
        "change.id",
        "scout.now",
        "facts.lookups",
        "FIELD.stat",
        "RECORD{stat = 1}",
        "RECORD{state = {1}}",
        "RECORD {state = 1}",
        "FIELD['state']",
        "PAYER.batches",
    ],
)
def test_an_unknown_name_is_an_error(source: str) -> None:
    with pytest.raises(UnknownField):
        runnable(f"return {source}")


def test_no_two_names_share_a_letter() -> None:
    class Twice:
        STATE = "s"
        STAGE = "s"

    with pytest.raises(ValueError, match="Twice"):
        names(Twice)


@pytest.mark.parametrize(
    ("source", "script"),
    [
        pytest.param("local DAY=864\nlocal day = now / DAY", "local day = now / 864", id="a number"),
        pytest.param("local ANYONE='*'\nx = caller == ANYONE", "x = caller == '*'", id="text"),
        pytest.param("local LEAST=-1\nx = y -LEAST", "x = y -(-1)", id="a negative number"),
        pytest.param("local LOST='DAY'\nlocal DAY=864\nx = LOST", "x = 'DAY'", id="text like a name"),
        pytest.param("local DAY=864\nerror('DAY: ' .. DAY)", "error('DAY: ' .. 864)", id="a name in text"),
        pytest.param("local DAY=864\nx = t.DAY + DAYS", "x = t.DAY + DAYS", id="other names"),
        pytest.param("local FINAL={a=true}\nx = FINAL[y]", "local FINAL={a=true}\nx = FINAL[y]", id="a table"),
    ],
)
def test_constants_are_replaced_with_their_values(source: str, script: str) -> None:
    assert with_values(source) == script
