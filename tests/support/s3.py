"""A real S3 API on this machine: moto's server."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
import requests

BUCKET = "pictures"


@contextmanager
def s3_api() -> Iterator[str]:
    """Run the server with one empty bucket; the environment leads S3's packages to it. Yield a URL in the bucket."""
    server_module = pytest.importorskip("moto.server", exc_type=ImportError)
    s3fs = pytest.importorskip("s3fs", exc_type=ImportError)
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        with mock.patch.dict(os.environ, environment):
            s3fs.S3FileSystem.clear_instance_cache()
            s3fs.S3FileSystem().mkdir(BUCKET)
            yield f"s3://{BUCKET}/results"
            s3fs.S3FileSystem.clear_instance_cache()
    finally:
        # All servers of a process share their data.
        requests.post(f"{environment['AWS_ENDPOINT_URL']}/moto-api/reset", timeout=10)
        server.stop()
