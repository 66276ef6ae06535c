"""The doctor's checks of real sentinels."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from jobs.connections.client import connect
from ops.doctor.check import Level
from ops.doctor.redis_servers import STATE, check_redis
from tests.support.sentinels import Watched, watched
from tests.support.waiting import WaitFor

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, wait_for: WaitFor) -> Iterator[Watched]:
    with watched(tmp_path_factory.mktemp("sentinel"), wait_for) as servers:
        yield servers


def found(url: str, *, state: bool = True) -> dict[str, tuple[Level, str]]:
    return {finding.subject: (finding.level, finding.detail) for finding in check_redis(STATE, url, state=state)}


def test_a_correct_setup_passes(servers: Watched) -> None:
    with closing(connect(servers.url())) as client:
        client.config_set("min-replicas-to-write", "1")
    findings = found(servers.url())
    assert findings[f"{STATE}: sentinels"] == (Level.OK, "3 answer, agree, and can choose another primary")
    assert findings[f"{STATE}: replicas"] == (Level.OK, "1 replicate")


def test_a_primary_that_accepts_writes_without_replicas_is_reported(servers: Watched) -> None:
    with closing(connect(servers.url())) as client:
        client.config_set("min-replicas-to-write", "0")
    assert found(servers.url())[f"{STATE}: replicas"] == (Level.WARNING, "min-replicas-to-write is not set")
    # The broker may lose messages, so the rule does not apply to it.
    assert found(servers.url(), state=False)[f"{STATE}: replicas"][0] is Level.OK


def test_too_few_sentinels_in_the_url_are_reported(servers: Watched) -> None:
    only, *others = (f"127.0.0.1:{port}" for port in servers.sentinels)
    url = servers.url().replace("," + ",".join(others), "")
    assert found(url)[f"{STATE}: sentinels"][0] is Level.WARNING
    assert "names only 1" in found(url)[f"{STATE}: sentinels"][1]
    assert only in url


def test_missing_sentinels_and_replicas_are_reported(tmp_path: Path, wait_for: WaitFor) -> None:
    with watched(tmp_path, wait_for) as servers:
        for port in (*servers.sentinels[1:], servers.servers[1]):
            servers.kill(port)
        wait_for(lambda: "NOQUORUM" in str(found(servers.url())), 20, "the last sentinel misses the others")
        findings = list(check_redis(STATE, servers.url(), state=True))
        reported = [(each.level, each.detail) for each in findings if each.subject == f"{STATE}: sentinels"]
        assert reported[0] == (Level.WARNING, "2 of 3 do not answer")
        assert (reported[1][0], "NOQUORUM" in reported[1][1]) == (Level.BAD, True)
        wait_for(lambda: found(servers.url())[f"{STATE}: replicas"][0] is Level.BAD, 20, "the replica is missed")
