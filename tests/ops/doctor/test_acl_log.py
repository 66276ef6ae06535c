"""The doctor detects that Redis dropped entries of its append-only file, and says how to restore them."""

import pytest

from ops.doctor.check import Finding, Level
from ops.doctor.redis_servers import check_redis
from tests.support.real_redis import RealRedis, StartRedis, binaries, keyspace, numbers

#: The rule of earlier users' files. With it, Redis 7 and later drop transactions and scripts with several writes.
OFF_AND_NOTHING_ELSE = "off"


def default_user_errors(server: RealRedis, *, state: bool = True) -> list[Finding]:
    found = check_redis("X", server.url("operator"), state=state)
    return [each for each in found if each.subject == "X: default user"]


def write(server: RealRedis) -> None:
    with server.client("admin") as admin:
        admin.eval("redis.call('HSET', '{b}:j:a', 's', 'queued') redis.call('ZADD', '{b}:alarms', 1, 'a')", 0)
        admin.pipeline(transaction=True).lpush("celery", "one").hset("unacked", "1", "x").execute()


@pytest.mark.parametrize("name", ["state", "broker"])
@pytest.mark.parametrize("version", binaries())
def test_dropped_writes_are_detected_and_restored_once_the_rule_is_fixed(
    version: str, name: str, real_redis: StartRedis
) -> None:
    server = real_redis(version, name)
    write(server)
    assert default_user_errors(server, state=name == "state") == []
    before = keyspace(server)
    right = next(
        line.removeprefix("user default ")
        for line in (server.files / f"{name}.acl").read_text().splitlines()
        if line.startswith("user default ")
    )
    server.stop()
    server.change_default_user(OFF_AND_NOTHING_ELSE)
    server.start()
    found = default_user_errors(server, state=name == "state")
    if numbers(version) < (7,):
        # Older versions load the file without checking permissions.
        assert (found, keyspace(server)) == ([], before)
        return
    assert keyspace(server) == {}
    (finding,) = found
    assert finding.level is Level.BAD
    assert "HSET" in finding.detail
    assert right in finding.remedy

    # Follow the doctor's remedy. Later writes must be kept too.
    with server.client("admin") as admin:
        admin.set("{b}:since", "1")
    server.stop()
    server.change_default_user(right)
    server.start()
    assert keyspace(server) == {**before, (0, "{b}:since"): ("string", "1", None)}
    assert default_user_errors(server, state=name == "state") == []


def test_other_refused_commands_are_not_reported_as_dropped_writes(real_redis: StartRedis) -> None:
    server = real_redis(max(binaries(), key=numbers), "state")
    with server.client("webhook") as webhook, server.client("health") as health:
        for client in (webhook, health):
            with pytest.raises(Exception, match=r"(?i)no permissions"):
                client.pipeline(transaction=True).flushall().execute()
        with pytest.raises(Exception, match="invalid username-password"):
            server.client("default").ping()
    assert server.refused()
    assert default_user_errors(server) == []
