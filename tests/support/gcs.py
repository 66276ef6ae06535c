"""The API of Google Cloud Storage on this machine: gcp-storage-emulator."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest

BUCKET = "pictures"


@contextmanager
def gcs_api() -> Iterator[str]:
    """Run the server with one empty bucket; the environment leads gcsfs to it. Yield a URL in the bucket.

    The test is skipped where `pip install gcsfs gcp-storage-emulator` was not run: our environment lacks them.
    """
    emulator = pytest.importorskip("gcp_storage_emulator.server", exc_type=ImportError)
    # gcsfs reads it when it is imported: otherwise it asks another API, which the emulator lacks.
    with mock.patch.dict(os.environ, {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}):
        gcsfs = pytest.importorskip("gcsfs", exc_type=ImportError)
        server = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket=BUCKET)
        server.start()
        try:
            os.environ["STORAGE_EMULATOR_HOST"] = f"http://127.0.0.1:{server._api._httpd.server_address[1]}"
            gcsfs.GCSFileSystem.clear_instance_cache()
            yield f"gs://{BUCKET}/results"
            gcsfs.GCSFileSystem.clear_instance_cache()
        finally:
            server.stop()
