from collections.abc import Callable
from pathlib import Path

import pytest

from ops.release import vulnerabilities
from ops.release.vulnerabilities import KNOWN, Report, Unreachable, findings

pytestmark = pytest.mark.stack

HOLE = {"id": "CVE-2025-1", "fix_versions": ["3.1.2"]}


def database(lock: Report, known: Report) -> Callable[[Path], Report]:
    """Return a database with one answer for the lock and one for a release that is known to be unsafe."""

    def ask(path: Path) -> Report:
        return known if path.read_text() == KNOWN else lock

    return ask


def test_a_finding_has_package_advisory_and_remedy(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    lock.write_text("flask==3.1.0\n")
    answer: Report = [
        {"name": "flask", "version": "3.1.0", "vulns": [HOLE]},
        {"name": "click", "version": "8", "vulns": []},
    ]
    found = findings(lock, database(answer, [{"vulns": [HOLE]}]))
    assert found == ["flask 3.1.0: CVE-2025-1, fixed in 3.1.2"]


def test_a_database_without_known_advisories_is_not_trusted(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    lock.write_text("flask==3.1.0\n")
    with pytest.raises(Unreachable, match="no advisories"):
        findings(lock, database([], [{"name": "jinja2", "version": "2.4.1", "vulns": []}]))


def test_without_a_network_the_check_is_reported_as_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Nothing listens on port 9 of loopback.
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    vulnerabilities.main()
    assert capsys.readouterr().out.startswith("Skipped: ")
