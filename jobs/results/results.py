"""The result store (BOOMERANG_RESULT_STORE): a folder or bucket that holds the saved outputs of jobs."""

from collections.abc import Callable

from jobs.blobs.bucket import Bucket, Purpose, never
from jobs.errors import ResultsUnavailable

RESULTS = Purpose("result store", "BOOMERANG_RESULT_STORE", ".boomerang-results", ResultsUnavailable)


def open_results(url: str, used_before: Callable[[], bool] = never) -> Bucket:
    """Open the result store. Raises `ResultsUnavailable`.

    `used_before`: whether results were saved to it, so that a folder without its marker is not mounted.
    """
    return Bucket(url, RESULTS, used_before)
