"""Read an answer as fast as it comes, however slowly its reader works. See `boomerang_client.spooling`."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable

from boomerang_client.spooling import MEMORY, Spool


async def lines(pieces: AsyncIterable[bytes], memory: int = MEMORY) -> AsyncGenerator[bytes, None]:
    """Yield the lines of `pieces`, which a task reads ahead. Raises what they raise, after the lines before it.

    Closing the iterator ends the task.
    """
    spool, changed = Spool(memory), asyncio.Event()
    reading = asyncio.create_task(_read(pieces, spool, changed))
    rest = b""
    try:
        while True:
            changed.clear()
            if not spool.ready:
                await changed.wait()
            # The task must get its turn between pieces that are there.
            await asyncio.sleep(0)
            piece = spool.take()
            if not piece:
                break
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                yield line
        if rest:
            yield rest
    finally:
        reading.cancel()
        await asyncio.wait({reading})
        spool.close()


async def _read(pieces: AsyncIterable[bytes], spool: Spool, changed: asyncio.Event) -> None:
    try:
        async for piece in pieces:
            spool.append(piece)
            changed.set()
    except Exception as error:  # noqa: BLE001 -- raised in the reader's task
        spool.end(error)
    else:
        spool.end()
    finally:
        changed.set()
