import json
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from ops.local import data_folder
from ops.local.data_folder import FolderInUse, PortTaken


def test_a_folder_is_locked_by_one_process_until_it_ends(tmp_path: Path) -> None:
    with data_folder.locked(tmp_path / "data") as folder:
        with pytest.raises(FolderInUse, match="use another folder: --data DIR"), data_folder.locked(folder):
            pass
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with data_folder.locked(folder):
        pass


def modes(folder: Path) -> dict[str, int]:
    return {str(each.relative_to(folder)): stat.S_IMODE(each.stat().st_mode) for each in [folder, *folder.rglob("*")]}


def test_a_folder_that_exists_becomes_private_with_all_that_a_stack_wrote_there(tmp_path: Path) -> None:
    folder, outside = tmp_path / "data", tmp_path / "outside"
    for path in ("secrets.json", "env", "logs/worker.log", "redis/appendonlydir/appendonly.aof.1.incr.aof"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    outside.touch()
    (folder / "logs" / "link").symlink_to(outside)
    for each in (folder, *folder.rglob("*"), outside):
        each.chmod(0o755 if each.is_dir() else 0o644)
    with data_folder.locked(folder):
        found = modes(folder)
        assert found.pop("logs/link") == 0o644
        assert {mode for name, mode in found.items() if not (folder / name).is_dir()} == {0o600}
        assert {mode for name, mode in found.items() if (folder / name).is_dir()} == {0o700}


#: In the folder of a project: a virtual environment, logs and data of other programs.
OTHERS = ("notes.txt", "env/bin/python", "logs/app.log", "redis/data.txt", "run/app.pid", "broker/a/b", "redis/env")


@pytest.mark.parametrize("starts", [1, 2])
def test_what_no_stack_wrote_keeps_its_mode(tmp_path: Path, starts: int) -> None:
    for path in OTHERS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    for each in (tmp_path, *tmp_path.rglob("*")):
        each.chmod(0o755)
    before = modes(tmp_path)
    for _ in range(starts):
        with data_folder.locked(tmp_path) as folder:
            data_folder.load_secrets(folder)
            (folder / "logs" / "worker.log").touch(0o644)
    after = modes(tmp_path)
    assert {name: after[name] for name in before} == before
    assert after["secrets.json"] == 0o600
    assert starts == 1 or after["logs/worker.log"] == 0o600


def test_a_link_that_waits_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    precious, folder = tmp_path / "precious", tmp_path / "data"
    precious.write_text("keep")
    folder.mkdir()
    for name in ("secrets.json", f".secrets.json.{os.getpid()}", "ports.json"):
        (folder / name).symlink_to(precious)
    data_folder.load_secrets(folder)
    data_folder.choose_ports(folder, None)
    assert precious.read_text() == "keep"
    (folder / "lock").symlink_to(precious)
    with pytest.raises(FolderInUse, match="--data DIR"), data_folder.locked(folder):
        pass


def test_secrets_are_generated_once_and_kept_private(tmp_path: Path) -> None:
    first = data_folder.load_secrets(tmp_path)
    assert data_folder.load_secrets(tmp_path) == first
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600
    assert repr(first) == "Secrets()"


def test_a_secret_that_is_missing_is_added_and_the_others_stay(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text(json.dumps({"api_key": "mine", "from a newer version": "x"}))
    assert data_folder.load_secrets(tmp_path).api_key == "mine"
    assert data_folder.load_secrets(tmp_path) == data_folder.load_secrets(tmp_path)


def test_ports_stay_the_same_from_start_to_start(tmp_path: Path) -> None:
    first = data_folder.choose_ports(tmp_path, None)
    assert len(set(first.values())) == 3
    assert data_folder.choose_ports(tmp_path, None) == first


def test_a_busy_port_is_retried_briefly(tmp_path: Path) -> None:
    first = data_folder.choose_ports(tmp_path, None)
    lingers = socket.create_server(("127.0.0.1", first["webhook"]))
    threading.Timer(0.2, lingers.close).start()
    assert data_folder.choose_ports(tmp_path, None) == first


def test_a_port_that_stays_busy_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_folder, "PORT_PATIENCE", 0.1)
    first = data_folder.choose_ports(tmp_path, None)
    with socket.create_server(("127.0.0.1", first["webhook"])):
        second = data_folder.choose_ports(tmp_path, None)
    assert second["webhook"] not in first.values()
    assert {name: second[name] for name in ("simulator", "flower")} == {
        name: first[name] for name in ("simulator", "flower")
    }


@pytest.mark.parametrize("kept", ["", "[]", "{", '{"webhook": "8420", "flower": 99999999}'])
def test_a_malformed_ports_file_is_ignored(tmp_path: Path, kept: str) -> None:
    (tmp_path / "ports.json").write_text(kept)
    assert len(set(data_folder.choose_ports(tmp_path, None).values())) == 3


def test_a_requested_port_is_used_or_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"Port {port} is in use\. Choose another one with --port"):
            data_folder.choose_ports(tmp_path, port)
        with pytest.raises(PortTaken):
            data_folder.open_listener(port)
    assert data_folder.choose_ports(tmp_path, port)["webhook"] == port
