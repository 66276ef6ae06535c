"""The open files that the system allows this process."""

import resource

#: Files that are no clients' connections: those to Redis, logs, images.
_OTHER_FILES = 700


def allow_files(wanted: int) -> int:
    """Allow this process enough open files for so many connections. Return how many it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    if soft < wanted + _OTHER_FILES:
        soft = min(wanted + _OTHER_FILES, hard if hard != resource.RLIM_INFINITY else wanted + _OTHER_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(soft - _OTHER_FILES, soft // 2)
