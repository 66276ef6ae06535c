"""The lines of an upload as jobs, in chunks for the store."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from jobs.errors import NoLane
from jobs.new_job import NewJob
from jobs.producer_ids import internal_id
from schemas import BodyInvalid, GenerationRequest, RequestInvalid, parse_json
from webhook.api.upload_progress import Upload
from webhook.services import Services

#: Jobs that the store gets in one call: enough to make a round trip worthwhile, too few to block Redis.
CHUNK_JOBS = 500


#: Bytes of requests in one call. A line may hold 40 MB of images.
CHUNK_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class LineRefused:
    """A line that was refused before it became a request."""

    errors: dict[str, list[str]]


#: A line of an upload with its number; None: it is too long.
NumberedLine = tuple[int, bytes | LineRefused | None]


def jobs_in(
    shared: Services,
    done: Upload,
    lines: Iterable[NumberedLine],
    load: Callable[[object], GenerationRequest],
) -> Iterator[tuple[int, NewJob]]:
    """Yield the job of each valid line with the line's number, and refuse the other lines. `load` validates."""
    settings = shared.settings
    limit = settings.max_body
    for number, line in lines:
        if line is None:
            done.refuse(number, {"request": [f"is longer than {limit:,} bytes; give images as URLs or references"]}, [])
            continue
        if isinstance(line, LineRefused):
            done.refuse(number, line.errors, [])
            continue
        if not line or line.isspace():
            continue
        try:
            request = load(parse_json(line))
        except RequestInvalid as error:
            done.refuse(number, error.errors, error.codes)
        except BodyInvalid as error:
            done.refuse(number, {"request": [error.reason]}, [])
        else:
            given = request.external_task_id or f"{done.given_id}.{number}"
            job_id = internal_id(given, done.options.owner)
            try:
                yield (
                    number,
                    NewJob.of(
                        request,
                        job_id,
                        settings.lanes,
                        batch_labels=done.options.labels,
                        notify_unbegun=shared.callback_hosts() is not None,
                    ),
                )
            except NoLane as error:
                done.refuse(number, {"model": [str(error)]}, [])


def chunks(jobs: Iterator[tuple[int, NewJob]]) -> Iterator[list[tuple[int, NewJob]]]:
    """Divide the jobs of an upload into chunks for one call of the store each."""
    chunk: list[tuple[int, NewJob]] = []
    size = 0
    for each in jobs:
        chunk.append(each)
        size += len(each[1].text)
        if len(chunk) == CHUNK_JOBS or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
