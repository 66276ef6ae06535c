"""The types of closed values: they are the service's, a typo fails type checking, and any other value has a way."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from mypy import api as mypy

from boomerang_client import Other, Status, choices

CLIENT = Path(__file__).parents[2] / "client"


def values(choice: Any) -> set[str]:
    literal, other = get_args(choice)
    assert other is Other
    return set(get_args(literal))


def documented(openapi: dict[str, Any], name: str) -> set[str]:
    """All values that the document has for parameters and members of this name."""
    parameters = [
        (each["name"], each.get("schema", {}))
        for operations in openapi["paths"].values()
        for operation in operations.values()
        if isinstance(operation, dict)
        for each in operation.get("parameters", ())
    ]
    models = ("KirinImageOmni", "KirinV21Reference2Image")
    members = [each for model in models for each in openapi["components"]["schemas"][model]["properties"].items()]
    found = [schema for known, schema in (*parameters, *members) if known == name]
    return {value for schema in found for value in schema.get("enum") or schema.get("items", {}).get("enum", ())}


@pytest.mark.parametrize(
    ("name", "choice"),
    [
        ("model", choices.Model),
        ("aspect_ratio", choices.AspectRatio),
        ("resolution", choices.Resolution),
        ("priority", choices.Priority),
        ("on_error", choices.OnError),
        ("class", choices.FailureClass),
        ("state", choices.DeliveryState),
        ("include", choices.Include),
    ],
)
def test_the_values_are_the_services(openapi: dict[str, Any], name: str, choice: Any) -> None:
    assert values(choice) == documented(openapi, name)


def test_every_model_and_state_has_a_name(openapi: dict[str, Any]) -> None:
    models = {
        value
        for schema in openapi["components"]["schemas"].values()
        for value in schema.get("properties", {}).get("model", {}).get("enum", ())
    }
    assert values(choices.Model) == models
    verdicts = openapi["components"]["schemas"]["ReviewView"]["properties"]["verdict"]["enum"]
    assert values(choices.Verdict) == set(verdicts) - {None}
    assert values(choices.JobState) == {each.value for each in Status} - {"unknown"}
    assert values(choices.JobState) | values(choices.BatchState) == documented(openapi, "status")


#: A call, a good value in it, and a typo.
CALLS = [
    ("generate(model={}, prompt='a boat')", "'kirin_image_omni'", "'kirin_image_onmi'"),
    ("generate(model='kirin_image_omni', aspect_ratio={})", "'16:9'", "'16x9'"),
    ("generate(model='kirin_image_omni', resolution={})", "'2k'", "'2K'"),
    ("generate(model='kirin_image_omni', priority={})", "'high'", "'hgih'"),
    ("batch([], priority={})", "'low'", "'slow'"),
    ("enqueue_batch([], on_error={})", "'abort'", "'abrot'"),
    ("quote([], priority={})", "'normal'", "'usual'"),
    ("job('1', include=[{}])", "'request'", "'requests'"),
    ("retry_batch('1', classes=[{}])", "'moderation'", "'moderated'"),
    ("retry_batch('1', statuses=[{}])", "'expired'", "'expire'"),
    ("replay(states=[{}])", "'given_up'", "'given up'"),
    ("jobs({})", "'in_doubt'", "'in doubt'"),
    ("jobs({})", "Status.FAILED", "Status.FALED"),
    ("batches(status={})", "'paused'", "'pause'"),
    ("results('1', [{}])", "'failed'", "'fail'"),
    ("finished('1', include=[{}])", "'revisions'", "'revision'"),
    ("deliveries(states=[{}])", "'delivered'", "'sent'"),
]
ITERATED = ("jobs", "batches", "results", "finished", "deliveries")
HEAD = [
    "from boomerang_client import AsyncClient, Client, Other, Status",
    "async def calls(client: Client, other: AsyncClient, text: str) -> None:",
]


def lines() -> Iterator[tuple[str, bool]]:
    """Each call with a good value, with another one, and with a typo, at both clients; and whether it is right."""
    for call, good, typo in CALLS:
        for value, right in ((good, True), ("Other(text)", True), (typo, False), ("text", False)):
            written = call.format(value)
            iterated = written.startswith(ITERATED)
            yield f"    client.{written}", right
            yield f"    other.{written}" if iterated else f"    await other.{written}", right


@pytest.mark.slow
def test_a_typo_fails_type_checking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(lines())
    (tmp_path / "calls.py").write_text("\n".join([*HEAD, *(line for line, _ in found)]) + "\n")
    monkeypatch.setenv("MYPYPATH", str(CLIENT))
    monkeypatch.chdir(tmp_path)
    # Without the packages that the client uses: their types say nothing about these values.
    options = ["--strict", "--no-site-packages", "--ignore-missing-imports", "--follow-imports=silent"]
    output, errors, _ = mypy.run([*options, "--python-version=3.10", "--config-file=", "--cache-dir=cache", "calls.py"])
    assert errors == ""
    refused = {
        int(line.split(":")[1]) for line in output.splitlines() if line.startswith("calls.py:") and " error: " in line
    }
    wrong = {number for number, (_, right) in enumerate(found, start=1 + len(HEAD)) if not right}
    assert refused == wrong, output
