"""Save the results of many jobs, several at once."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from boomerang_client.asynchronous.execution import Each, Pool, each, in_thread
from boomerang_client.asynchronous.records import AsyncJob
from boomerang_client.responses import Saved
from boomerang_client.saving import Saver

#: Downloads that wait for a thread, for each thread.
_WAITING = 4


async def save_all(saver: Saver, jobs: Each[AsyncJob], at_once: int) -> AsyncGenerator[Saved, None]:
    """Save the results of the jobs as they arrive, and close the saver. Jobs without results are skipped.

    Leaving the iterator ends the downloads. Raises NotSaved when the folder cannot be created.
    """
    try:
        await in_thread(saver.create_folder)
        async with Pool[Saved](at_once, saver.stop) as pool, aclosing(each(jobs)) as arriving:
            async for job in arriving:
                for index in range(len(job.output)):
                    pool.start(saver.save_one, job, index)
                while len(pool) >= _WAITING * at_once:
                    for saved in await pool.first():
                        yield saved
                for saved in pool.ended():
                    yield saved
            while len(pool):
                for saved in await pool.first():
                    yield saved
    finally:
        saver.close()
