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
    # With what RFC 5280 asks for, because Python 3.13 and later check it.
    authority = ("-x509", "-days", "2", "-subj", "/CN=test", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    _openssl(folder, "req", *authority, *_KEY, "-keyout", "ca.key", "-out", "ca.pem")
    _openssl(folder, "req", *_KEY, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    extensions = "subjectAltName=DNS:localhost,DNS:provider.example,IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n"
    (folder / "extensions").write_text(extensions)
    signed = ("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
    _openssl(folder, *signed, "-extfile", "extensions", "-out", "server.pem")


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
