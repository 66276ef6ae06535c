import hashlib
from pathlib import Path

import pytest

from ops.release import sbom
from tests.support.environments import Environment, build_wheel

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[3]


def test_each_package_is_listed_with_the_hash_of_what_was_installed(tmp_path: Path) -> None:
    # Given pip's report of the installation of a wheel
    wheel = build_wheel(ROOT / "client", tmp_path)
    environment = Environment(tmp_path / "venv", [])
    report = tmp_path / "report.json"
    done = environment.pip("install", "--no-deps", "--report", str(report), str(wheel), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    sbom.main(str(tmp_path / "venv"), str(report))
    listed = sbom.json.loads((tmp_path / "venv" / "sbom.cdx.json").read_text())
    assert listed["bomFormat"] == "CycloneDX"
    (component,) = listed["components"]
    assert (component["name"], component["version"]) == ("boomerang-jobs-client", "0.1.0")
    assert component["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}]


def test_a_package_of_unknown_origin_is_an_error() -> None:
    with pytest.raises(KeyError, match="stranger"):
        sbom.add_hashes({"components": [{"name": "Stranger"}]}, {"celery": "0" * 64})


def test_names_are_normalized_as_pip_does() -> None:
    listed = {"components": [{"name": "Flask_WTF"}]}
    sbom.add_hashes(listed, {"flask-wtf": "1" * 64})
    assert listed["components"][0] == {"name": "Flask_WTF", "hashes": [{"alg": "SHA-256", "content": "1" * 64}]}
