"""Certificates of a private authority, made with openssl."""

import shutil
import subprocess
from pathlib import Path

import pytest

_KEY = ("-newkey", "rsa:2048", "-nodes")


def make_certificates(folder: Path) -> None:
    """Write `ca.pem`, an unknown authority, and `server.pem` and `server.key`, which it signed."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make certificates with")
    _openssl(folder, "req", "-x509", *_KEY, "-days", "2", "-subj", "/CN=test", "-keyout", "ca.key", "-out", "ca.pem")
    _openssl(folder, "req", *_KEY, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    (folder / "names").write_text("subjectAltName=DNS:localhost,DNS:provider.example,IP:127.0.0.1\n")
    signed = ("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
    _openssl(folder, *signed, "-extfile", "names", "-out", "server.pem")


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
