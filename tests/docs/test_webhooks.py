"""The verifiers of docs/guides/webhooks.md accept what the service signs, and nothing else."""

import json
import re
import shutil
import subprocess
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.signatures import signed

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "webhooks.md"
OLD, NEW, OTHER = ("whsec_" + b64encode(bytes(range(start, start + 32))).decode() for start in (1, 70, 150))
BODY = '{"id": "order-4711", "prompt": "ein Fuchs, größer als 1 m"}'


def verifier(language: str) -> str:
    found = re.search(rf"<!-- verifier: {language} -->\n```\w+\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert found
    return found[1]


def python(secret: str, headers: dict[str, str], body: str, _: Path) -> bool:
    names: dict[str, Any] = {}
    exec(verifier("python"), names)
    return bool(names["is_genuine"](secret, headers, body.encode()))


def javascript(secret: str, headers: dict[str, str], body: str, folder: Path) -> bool:
    if not (node := shutil.which("node")):
        pytest.skip("node is not installed")
    call = f"console.log(isGenuine({json.dumps(secret)}, {json.dumps(headers)}, Buffer.from({json.dumps(body)})))"
    return run(folder, node, "-e", f"{verifier('javascript')}\n{call}").strip() == "true"


def shell(secret: str, headers: dict[str, str], body: str, folder: Path) -> bool:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    (folder / "body").write_bytes(body.encode())
    env = {name.replace("-", "_"): value for name, value in headers.items()} | {"secret": secret}
    return run(folder, "sh", "-c", verifier("shell"), env=env).strip() == "genuine"


def run(folder: Path, *command: str, env: dict[str, str] | None = None) -> str:
    path = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    return subprocess.run(
        command, cwd=folder, env=path | (env or {}), capture_output=True, text=True, timeout=60, check=False
    ).stdout


@pytest.mark.stack
@pytest.mark.parametrize("verify", [python, javascript, shell])
def test_a_verifier_accepts_what_the_service_signs_and_nothing_else(verify: Any, tmp_path: Path) -> None:
    headers = signed("order-4711.completed", datetime.now(UTC), BODY, [OLD, NEW])
    # While a secret is replaced, either one is enough
    assert verify(OLD, headers, BODY, tmp_path)
    assert verify(NEW, headers, BODY, tmp_path)
    assert not verify(OTHER, headers, BODY, tmp_path)
    assert not verify(OLD, headers, BODY + " ", tmp_path)
    for name in ("webhook-id", "webhook-timestamp"):
        assert not verify(OLD, headers | {name: headers[name] + "1"}, BODY, tmp_path)


@pytest.mark.stack
@pytest.mark.parametrize("verify", [python, javascript])
def test_an_old_notification_is_refused(verify: Any, tmp_path: Path) -> None:
    headers = signed("order-4711.completed", datetime.now(UTC) - timedelta(minutes=6), BODY, [OLD])
    assert not verify(OLD, headers, BODY, tmp_path)


@pytest.mark.parametrize("language", ["python", "javascript", "shell"])
def test_a_verifier_is_short(language: str) -> None:
    assert len(verifier(language).strip().splitlines()) <= 12
