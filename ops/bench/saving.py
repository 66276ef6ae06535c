"""Benchmark: saving results, beside a plain download and a plain write on the same machine in the same run.

`python -m ops.bench.saving --jobs 100000` is the full size: 100 GB of traffic. Results are removed behind it, so that
half a gigabyte of disk suffices. `--beside 2000` measures the submit path with and without saving, in turn.
"""

import multiprocessing
import os
import socket
import struct
import tempfile
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import click
import requests

from jobs.job import Job
from jobs.result import Result
from jobs.results.manifest import write_manifest
from jobs.results.names import DEFAULT, Template
from jobs.results.results import open_results
from jobs.states import State
from ops.bench.beside_saving import measure
from ops.bench.memory import Memory
from worker.http.download import Downloader
from worker.http.transfer import Bounds
from worker.save.outputs import OutputSaver
from worker.save_settings import MIN_RATE

_BATCH = "bench"
_MEGABYTE = 1_000_000
#: Parts of a run at whose beginnings the memory is printed.
PARTS = 10


@click.command()
@click.option("--jobs", default=2000, show_default=True, help="Results to save.")
@click.option("--size", default=_MEGABYTE, show_default=True, help="Bytes of each.")
@click.option("--threads", default=16, show_default=True, help="Results that are saved at once.")
@click.option("--keep", default=500, show_default=True, help="Results on the disk at most; older ones are removed.")
@click.option("--plain", default=2000, show_default=True, help="Files of the plain download and write, at most.")
@click.option("--beside", default=0, show_default=True, help="Jobs of the whole path beside saving; 0: skip it.")
@click.option("--turns", default=3, show_default=True, help="Turns of the whole path, each with and without saving.")
def main(*, jobs: int, size: int, threads: int, keep: int, plain: int, beside: int, turns: int) -> None:
    """Save results from a server on this machine to a folder, and print megabytes per second and memory."""
    if jobs:
        _saving(jobs, size, threads, keep, plain)
    if beside:
        _beside(beside, turns)


def _saving(jobs: int, size: int, threads: int, keep: int, plain: int) -> None:
    content = _png(size)
    with tempfile.TemporaryDirectory(prefix="boomerang-bench-") as name, _server(content) as url:
        folder = Path(name)
        network = _rate(min(jobs, plain), size, threads, lambda _: _download(url))
        disk = _rate(min(jobs, plain), size, threads, lambda number: _write(folder, number, content))
        results = open_results(f"file://{folder}/results")
        saver = OutputSaver(
            results, Downloader(Bounds(2 * size, MIN_RATE), private_hosts=True), Template.parse(DEFAULT)
        )
        newest: deque[str] = deque()

        def save(number: int) -> None:
            newest.extend(each.name for each in saver.save_outputs(_job(number, url), {}).outputs)
            while len(newest) > keep:
                with suppress(IndexError):  # another thread has taken it
                    results.remove([newest.popleft()])

        memory = Memory(os.getpid())
        peaks: list[int] = []

        def sample(number: int | None) -> None:
            memory.sample()
            if number is not None and number * PARTS // jobs >= len(peaks):
                peaks.append(memory.now())

        saved = _rate(jobs, size, threads, save, sample)
        begin = time.perf_counter()
        lines = write_manifest(results, _BATCH)
        took = time.perf_counter() - begin
        memory.sample()
    click.echo(f"{jobs:,} results of {size:,} bytes, {threads} threads, {os.cpu_count()} processors")
    click.echo(f"plain download  {network:8.1f} MB/s")
    click.echo(f"plain write     {disk:8.1f} MB/s (flushed to disk, and renamed)")
    click.echo(f"saving          {saved:8.1f} MB/s, {saved / min(network, disk):.0%} of the slower of both")
    click.echo(f"memory          {memory.before / _MEGABYTE:.0f} MB before, {memory.peak / _MEGABYTE:.0f} MB at most")
    click.echo(f"at each tenth   {', '.join(f'{each / _MEGABYTE:.0f}' for each in peaks)} MB")
    click.echo(f"manifest        {lines:,} lines in {took:.1f} s")


def _beside(jobs: int, turns: int) -> None:
    without, beside = measure(jobs, turns)
    click.echo(f"whole path of {jobs:,} jobs, median of {turns} turns: without saving, beside saving, ratio")
    for what, one, other in (
        ("jobs/s", without.rate, beside.rate),
        ("CPU µs a job, webhook", without.cpu("webhook"), beside.cpu("webhook")),
        ("CPU µs a job, Redis", without.cpu("redis"), beside.cpu("redis")),
        ("CPU µs a job, worker, which saves too", without.cpu("worker"), beside.cpu("worker")),
    ):
        click.echo(f"{what:40} {one:8,.0f} {other:8,.0f} {other / one:6.2f}")


def _rate(
    count: int,
    size: int,
    threads: int,
    work: Callable[[int], object],
    sample: Callable[[int | None], object] = lambda _: None,
) -> float:
    """Return megabytes per second."""
    numbers = iter(range(count))
    taking = threading.Lock()

    def run() -> None:
        while True:
            with taking:
                number = next(numbers, None)
                sample(number)
            if number is None:
                return
            work(number)

    begin = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(run) for _ in range(threads)]:
            done.result()
    return count * size / _MEGABYTE / (time.perf_counter() - begin)


_local = threading.local()


def _download(url: str) -> None:
    session: requests.Session | None = getattr(_local, "session", None)
    if session is None:
        session = _local.session = requests.Session()
    with session.get(url, stream=True, timeout=60) as answer:
        for _ in answer.iter_content(256 * 1024):
            pass


def _write(folder: Path, number: int, content: bytes) -> None:
    draft = folder / f"draft-{number}"
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    target = folder / "plain"
    draft.rename(target)
    target.unlink(missing_ok=True)


def _job(number: int, url: str) -> Job:
    now = datetime.now(UTC)
    return Job(
        id=f"job-{number}", state=State.COMPLETED, model="kirin_image_omni", n=1, attempt=1, fence=1, created_at=now,
        updated_at=now, ended_at=now, batch=_BATCH, text='{"prompt": "a boomerang over the sea"}',
        result=Result(output=({"type": "image", "url": f"{url}/{number}"},)),
    )  # fmt: skip


def _png(size: int) -> bytes:
    """Return a file with the structure of a PNG. Its pixels are noise."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1024, 1024, 8, 2, 0, 0, 0))
    end = chunk(b"IEND", b"")
    return head + chunk(b"IDAT", os.urandom(max(1, size - len(head) - len(end) - 12))) + end


@contextmanager
def _server(content: bytes) -> Iterator[str]:
    """Serve the content at every path, from a process of its own."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(listener, content), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        process.kill()
        process.join()
        listener.close()


def _serve(listener: socket.socket, content: bytes) -> None:
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content

    def handle(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as file:
            while file.readline():
                while file.readline() not in (b"\r\n", b""):
                    pass
                connection.sendall(answer)

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=handle, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
