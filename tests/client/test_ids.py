"""Ids that the client generates, and the spellings that it accepts."""

from functools import partial

import pytest

from boomerang_client import Client, NotFound, UsageError, new_id
from boomerang_client.ids import ALPHABET, spellings
from tests.support.fake_boomerang import FakeService
from tests.support.generation_requests import REQUEST
from webhook.api.enqueue import new_id as services_id

OLD = "01ARYZ6S41TSV4RRFFQ69G5FAV"


def test_an_id_has_the_layout_of_a_ulid() -> None:
    # The time is the example of github.com/ulid/spec: 01ARYZ6S41 is 1469918176385 ms.
    assert new_id(lambda: 1469918176.3851, lambda bits: (1 << bits) - 1) == "01aryz6s41zzzzzzzzzzzzzzzz"
    assert new_id(lambda: 0, lambda bits: 0) == "0" * 26


def test_ids_sort_by_time_and_differ_within_a_millisecond() -> None:
    ids = [new_id(partial(float, second)) for second in range(1_700_000_000, 1_700_000_050)]
    assert ids == sorted(ids)
    assert len({new_id(lambda: 1.0) for _ in range(1000)}) == 1000
    assert set("".join(ids)) <= set(ALPHABET)


def test_ids_of_the_client_and_of_the_service_sort_together() -> None:
    ids = []
    for _ in range(20):
        ids += [new_id(), services_id()]
    assert [each[:10] for each in sorted(ids)] == [each[:10] for each in ids]
    assert all(each == each.lower() for each in ids)


@pytest.mark.parametrize(
    ("id_", "ways"),
    [
        pytest.param(OLD, (OLD, OLD.lower()), id="upper"),
        pytest.param(OLD.lower(), (OLD.lower(), OLD), id="lower"),
        pytest.param(f"{OLD}.17", (f"{OLD}.17", f"{OLD.lower()}.17"), id="a line of a batch"),
        pytest.param("Boat-1", ("Boat-1",), id="another id"),
        pytest.param(OLD[:-1], (OLD[:-1],), id="too short"),
        pytest.param(OLD[:13] + OLD[13:].lower(), (OLD[:13] + OLD[13:].lower(),), id="mixed"),
        pytest.param("8" + OLD[1:], ("8" + OLD[1:],), id="more than 128 bits"),
        pytest.param("0" * 26, ("0" * 26,), id="digits only"),
        pytest.param(OLD.replace("A", "U"), (OLD.replace("A", "U"),), id="not in the alphabet"),
    ],
)
def test_accepted_spellings_give_the_same_id(id_: str, ways: tuple[str, ...]) -> None:
    assert spellings(id_) == ways


@pytest.mark.parametrize("id_", ["", ".", ".."])
def test_invalid_ids_are_refused(id_: str) -> None:
    with pytest.raises(UsageError, match="is not an id"):
        spellings(id_)


@pytest.mark.parametrize("stored", [OLD, OLD.lower()], ids=["upper", "lower"])
def test_a_ulid_is_found_in_either_case(client: Client, service: FakeService, stored: str) -> None:
    service.still = True
    asked = stored.swapcase()
    client.batch([REQUEST, REQUEST], stored)
    assert client.batch(asked).id == stored
    assert client.job(f"{asked}.1").id == f"{stored}.1"
    assert client.pause_job(f"{asked}.1").reason == "paused on request"
    assert client.cancel(f"{asked}.1").status == "cancelled"
    assert client.retry(f"{asked}.1").status == "queued"
    assert client.pause(asked).id == client.resume(asked).id == client.retry_batch(asked).id == stored
    assert len(list(client.results(asked))) == 2
    service.still = False
    assert [job.id for job in client.finished(asked)] == [f"{stored}.1", f"{stored}.2"]
    assert client.wait(asked).id == stored
    assert list(client.failures(asked)) == []


def test_an_unknown_id_is_reported_as_it_was_given(client: Client, service: FakeService) -> None:
    for call in (client.job, client.batch, client.cancel, client.pause):
        with pytest.raises(NotFound, match=OLD):
            call(OLD)
    with pytest.raises(NotFound, match="Boat-1"):
        client.job("Boat-1")
    assert service.paths()[-1] == "GET /v1/jobs/Boat-1"
    assert service.paths().count("GET /v1/jobs/boat-1") == 0
