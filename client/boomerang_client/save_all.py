# Written by `make client`, from asynchronous/save_all.py. Do not edit.
"""Save the results of many jobs, several at once."""

from collections.abc import Generator
from contextlib import closing

from boomerang_client.execution import Each, Pool, each, in_thread
from boomerang_client.records import Job
from boomerang_client.responses import Saved
from boomerang_client.saving import Saver

#: Downloads that wait for a thread, for each thread.
_WAITING = 4


def save_all(saver: Saver, jobs: Each[Job], at_once: int) -> Generator[Saved, None]:
    """Save the results of the jobs as they arrive, and close the saver. Jobs without results are skipped.

    Leaving the iterator ends the downloads. Raises NotSaved when the folder cannot be created.
    """
    try:
        in_thread(saver.create_folder)
        with Pool[Saved](at_once, saver.stop) as pool, closing(each(jobs)) as arriving:
            for job in arriving:
                for index in range(len(job.output)):
                    pool.start(saver.save_one, job, index)
                while len(pool) >= _WAITING * at_once:
                    for saved in pool.first():
                        yield saved
                for saved in pool.ended():
                    yield saved
            while len(pool):
                for saved in pool.first():
                    yield saved
    finally:
        saver.close()
