import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
import redis

from ops.local import redis_server
from ops.local.redis_server import Fsync, RedisCannotStart, RedisServer
from tests.support.waiting import WaitFor

pytestmark = pytest.mark.stack


def client_of(server: RedisServer) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True)


@pytest.mark.parametrize("fsync", Fsync)
def test_it_keeps_jobs_and_never_evicts_them(tmp_path: Path, fsync: Fsync) -> None:
    with redis_server.running(tmp_path, fsync=fsync) as server, client_of(server) as client:
        wanted = {"appendonly": "yes", "appendfsync": fsync.value, "maxmemory-policy": "noeviction", "save": ""}
        assert {name: client.config_get(name)[name] for name in wanted} == wanted


@pytest.mark.parametrize("users", redis_server.MEMORY)
def test_a_server_of_the_stack_has_a_limit_of_memory(tmp_path: Path, users: str) -> None:
    variable, _ = redis_server.MEMORY[users]
    assert redis_server.memory_limit(users, {variable: "3gb"}) == "3gb"
    with redis_server.running(tmp_path, users=users) as server, client_of(server) as client:
        limit = int(client.info("memory")["maxmemory"])
    assert redis_server.LEAST_MEMORY <= limit <= psutil.virtual_memory().total // 4


def test_it_asks_for_the_password_and_listens_on_loopback_only(tmp_path: Path) -> None:
    with redis_server.running(tmp_path) as server:
        with redis.Redis(port=server.port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        listening = [each for each in psutil.Process(server.pid).net_connections() if each.status == psutil.CONN_LISTEN]
        assert {each.laddr.ip for each in listening} == {"127.0.0.1"}
        assert stat.S_IMODE((tmp_path / "redis.conf").stat().st_mode) == 0o600
        assert server.url not in repr(server)


def test_writes_survive_a_sigkill(tmp_path: Path, wait_for: WaitFor) -> None:
    with redis_server.running(tmp_path) as server, client_of(server) as client:
        client.set("job", "kept")
        process = psutil.Process(server.pid)
        process.kill()
        wait_for(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    with redis_server.running(tmp_path) as server, client_of(server) as client:
        assert client.get("job") == "kept"


def test_two_servers_are_separate(tmp_path: Path) -> None:
    with (
        redis_server.running(tmp_path / "a", durable=False) as one,
        redis_server.running(tmp_path / "b", durable=False) as other,
    ):
        assert one.port != other.port


def test_it_stops_at_the_end_of_the_block(tmp_path: Path) -> None:
    with redis_server.running(tmp_path, durable=False) as server:
        pass
    assert not psutil.pid_exists(server.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_it_does_not_outlive_a_parent_that_is_killed(tmp_path: Path, wait_for: WaitFor) -> None:
    # Given a process that runs a Redis
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from ops.local import redis_server
        with redis_server.running(Path(sys.argv[1]), durable=False) as server:
            print(server.pid, flush=True)
            sys.stdin.read()
    """)
    root = Path(redis_server.__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout
        server = psutil.Process(int(parent.stdout.readline()))
        # When it is killed by SIGKILL
        parent.send_signal(signal.SIGKILL)
    # Then its Redis ends too
    wait_for(lambda: not server.is_running(), message="Redis ended")


def test_a_server_that_fails_to_start_reports_why(tmp_path: Path) -> None:
    (tmp_path / "appendonly.aof").write_bytes(b"this is no append-only file")
    (tmp_path / "appendonlydir").write_bytes(b"nor is this its folder")
    with (
        pytest.raises(RedisCannotStart, match=r"(?s)did not start.*(Bad file format|appendonlydir)"),
        redis_server.running(tmp_path),
    ):
        pass
