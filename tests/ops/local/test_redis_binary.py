import os
import sys
from pathlib import Path

import pytest

from ops.local import preflight, redis_binary
from ops.local.redis_binary import VARIABLE, RedisCannotStart, find
from ops.local.redis_versions import ServerVersion


def server(folder: Path, banner: str) -> Path:
    """Return a function that writes a program which answers `--version` like redis-server."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "redis-server"
    path.write_text(f"#!/bin/sh\necho '{banner}'\n")
    path.chmod(0o755)
    return path


def redis(folder: Path, version: str) -> Path:
    return server(folder, f"Redis server v={version} sha=00000000:0 malloc=jemalloc-5.2.1 bits=64 build=0")


def embedded(monkeypatch: pytest.MonkeyPatch, path: Path | None) -> None:
    """Replace the package that contains a Redis server: with another server, or as not installed."""
    if path is None:
        monkeypatch.setattr(redis_binary, "EMBEDDED_MODULE", "a_package_that_is_not_installed")
        return
    module = path.parent / "embedding.py"
    module.write_text(f"def get_redis_server():\n    return {str(path)!r}\n")
    monkeypatch.syspath_prepend(str(path.parent))
    monkeypatch.delitem(sys.modules, "embedding", raising=False)
    monkeypatch.setattr(redis_binary, "EMBEDDED_MODULE", "embedding")


CHOICES = [
    # on the PATH, embedded -> the server that is chosen
    ("8.2.3", "8.2.3", "PATH"),
    ("7.4.6", "8.2.3", "PATH"),
    ("6.2.20", None, "PATH"),
    ("6.2.14", "8.2.3", "embedded"),  # known vulnerabilities
    ("7.0.15", "8.2.3", "embedded"),
    ("7.0.15", None, "PATH"),  # better than no server: a distribution may have patched it
    ("8.0.2", None, "PATH"),
    ("6.0.16", "8.2.3", "embedded"),  # too old
    (None, "8.2.3", "embedded"),
]


@pytest.mark.stack
@pytest.mark.parametrize(("on_path", "carried", "chosen"), CHOICES)
def test_the_safest_server_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_path: str | None, carried: str | None, chosen: str
) -> None:
    paths = {"PATH": tmp_path / "bin" / "redis-server", "embedded": tmp_path / "package" / "redis-server"}
    if on_path:
        redis(tmp_path / "bin", on_path)
    embedded(monkeypatch, redis(tmp_path / "package", carried) if carried else None)
    found = find({"PATH": str(tmp_path / "bin")})
    assert found.path == str(paths[chosen])
    assert str(found.version) == f"Redis {on_path if chosen == 'PATH' else carried}"


@pytest.mark.stack
@pytest.mark.parametrize("on_path", [None, "6.0.16", "5.0.14"])
def test_no_suitable_server_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_path: str | None) -> None:
    if on_path:
        redis(tmp_path / "bin", on_path)
    embedded(monkeypatch, None)
    with pytest.raises(RedisCannotStart) as error:
        find({"PATH": str(tmp_path / "bin")})
    assert "apt-get install redis-server" in str(error.value)
    assert VARIABLE in str(error.value)
    assert on_path is None or on_path in str(error.value)


@pytest.mark.stack
def test_a_program_that_cannot_run_here_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Built for another architecture or C library: the kernel or the loader rejects it.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "redis-server").write_bytes(b"\x7fELF\x00 for another machine")
    (tmp_path / "bin" / "redis-server").chmod(0o755)
    embedded(monkeypatch, redis(tmp_path / "package", "8.2.3"))
    assert find({"PATH": str(tmp_path / "bin")}).path == str(tmp_path / "package" / "redis-server")


@pytest.mark.stack
def test_the_variable_takes_precedence(tmp_path: Path) -> None:
    redis(tmp_path / "bin", "8.2.3")
    named = redis(tmp_path / "named", "6.2.14")
    assert find({"PATH": str(tmp_path / "bin"), VARIABLE: str(named)}).path == str(named)


@pytest.mark.parametrize(
    "named", ["{}/nothing/redis-server", "{}", "{}/old/redis-server", "{}/other/redis-server", "{}/bin/another-name"]
)
@pytest.mark.stack
def test_a_variable_that_names_no_server_is_an_error_with_its_value(tmp_path: Path, named: str) -> None:
    redis(tmp_path / "bin", "8.2.3").with_name("another-name").symlink_to("redis-server")
    redis(tmp_path / "old", "6.0.16")
    server(tmp_path / "other", "psql (PostgreSQL) 17.2")
    named = named.format(tmp_path)
    with pytest.raises(RedisCannotStart, match=VARIABLE) as error:
        find({"PATH": str(tmp_path / "bin"), VARIABLE: named})
    assert repr(named) in str(error.value)


@pytest.mark.stack
def test_the_chosen_server_runs() -> None:
    assert find(os.environ).version.supported


VERSIONS = [
    # version -> supported, has known vulnerabilities
    ("5.0.14", False, True),
    ("6.0.20", False, True),
    ("6.2.14", True, True),
    ("6.2.19", True, True),
    ("6.2.20", True, False),
    ("6.2.21", True, False),
    ("7.0.15", True, True),
    ("7.0.99", True, True),
    ("7.2.10", True, True),
    ("7.2.11", True, False),
    ("7.4.5", True, True),
    ("7.4.6", True, False),
    ("8.0.3", True, True),
    ("8.0.4", True, False),
    ("8.2.1", True, True),
    ("8.2.2", True, False),
    ("8.4.0", True, False),
    ("10.0.0", True, False),
]


@pytest.mark.parametrize(("text", "supported", "unsafe"), VERSIONS)
def test_supported_and_vulnerable_versions_are_recognized(text: str, supported: bool, unsafe: bool) -> None:
    version = ServerVersion.from_info({"redis_version": text})
    assert version == ServerVersion.from_banner(f"Redis server v={text} sha=0:0")
    assert version is not None
    assert (version.supported, bool(version.warning)) == (supported, unsafe)


@pytest.mark.parametrize(
    ("text", "unsafe"), [("7.2.8", True), ("8.0.6", False), ("8.1.1", True), ("8.1.4", False), ("9.0.0", False)]
)
def test_valkey_is_judged_by_its_own_version(text: str, unsafe: bool) -> None:
    # Valkey also reports the compatible version, Redis 7.2.4.
    version = ServerVersion.from_info({"redis_version": "7.2.4", "valkey_version": text})
    assert version is not None
    assert (str(version), version.supported, bool(version.warning)) == (f"Valkey {text}", True, unsafe)


@pytest.mark.parametrize("text", ["", "unknown", "v8", "8"])
def test_other_output_is_not_a_version(text: str) -> None:
    assert ServerVersion.from_info({"redis_version": text}) is None
    assert ServerVersion.from_banner(f"Redis server v={text}") is None


@pytest.mark.parametrize(("version", "newer"), [("7.0.15", "7.2.11"), ("6.2.14", "6.2.20"), ("8.0.2", "8.0.4")])
def test_the_remedy_names_a_release_that_is_safe(version: str, newer: str) -> None:
    found = ServerVersion.from_info({"redis_version": version})
    assert found is not None
    assert newer in found.remedy
    safe = ServerVersion.from_info({"redis_version": newer})
    assert safe is not None
    assert not safe.warning


def test_before_setup_a_redis_that_setup_will_install_suffices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    embedded(monkeypatch, None)
    monkeypatch.setattr(preflight, "embedded_fits", lambda: True)
    preflight.main(["redis"])
    monkeypatch.setattr(preflight, "embedded_fits", lambda: False)
    with pytest.raises(SystemExit, match="apt-get install redis-server"):
        preflight.main(["redis"])


@pytest.mark.stack
def test_before_setup_a_wrong_variable_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/nowhere/redis-server")
    monkeypatch.setattr(preflight, "embedded_fits", lambda: True)
    with pytest.raises(SystemExit, match="/nowhere/redis-server"):
        preflight.main(["redis"])


@pytest.mark.parametrize(
    ("python", "machine", "libc", "fits"),
    [
        ((3, 11, 0), "x86_64", ("glibc", "2.36"), True),
        ((3, 13, 2), "aarch64", ("glibc", "2.28"), True),
        ((3, 14, 0), "x86_64", ("glibc", "2.41"), False),
        ((3, 12, 1), "riscv64", ("glibc", "2.41"), False),
        ((3, 12, 1), "x86_64", ("glibc", "2.17"), False),
        ((3, 12, 1), "x86_64", ("", ""), False),
    ],
)
def test_the_platforms_of_the_embedded_server(
    monkeypatch: pytest.MonkeyPatch, python: tuple[int, int, int], machine: str, libc: tuple[str, str], fits: bool
) -> None:
    monkeypatch.setattr(redis_binary.sys, "version_info", python)
    monkeypatch.setattr(redis_binary.platform, "machine", lambda: machine)
    monkeypatch.setattr(redis_binary.platform, "libc_ver", lambda: libc)
    assert redis_binary.embedded_fits() is fits


def test_an_embedded_server_whose_library_is_missing_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For example in a small container image without libstdc++.
    monkeypatch.setattr(redis_binary, "EMBEDDED_LIBRARY", "libmissing.so.6")
    monkeypatch.setattr(redis_binary, "_has_wheel", lambda: True)
    assert not redis_binary.embedded_fits()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    embedded(monkeypatch, None)
    with pytest.raises(SystemExit, match=r"libmissing\.so\.6.*apt-get install libstdc\+\+6"):
        preflight.main(["redis"])


@pytest.mark.stack
def test_the_reason_why_a_server_does_not_run_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "package" / "redis-server"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho 'error while loading shared libraries: libx.so' >&2\nexit 127\n")
    broken.chmod(0o755)
    embedded(monkeypatch, broken)
    with pytest.raises(RedisCannotStart, match="loading shared libraries: libx"):
        find({"PATH": str(tmp_path / "bin")})
