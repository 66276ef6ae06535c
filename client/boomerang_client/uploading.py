# Written by `make client`, from asynchronous/uploading.py. Do not edit.
"""Upload batches in parts. A part is kept until the service answers, so the lines of a generator can be sent again.

A line without an `external_task_id` becomes the job `<batch>.<line number>`. The service gives the same id to the line
of a batch that comes in one request. So a part may be sent twice, and so may the whole batch.
"""

import gzip
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from boomerang_client.errors import ApiError, Invalid, LineError, ServerFault, TooBusy, UsageError
from boomerang_client.execution import Reference, in_thread
from boomerang_client.image_folders import Folders
from boomerang_client.image_uploads import resolve_images
from boomerang_client.local_images import ImagesRefused
from boomerang_client.ndjson import Line, NotEncodable, Numbered, encode, parse_request
from boomerang_client.parsing.batches import read_accepted
from boomerang_client.quotes import Quote, read_quote
from boomerang_client.responses import BatchAccepted
from boomerang_client.retrying import PatientCaller
from boomerang_client.transport import Params, Transport
from boomerang_client.upload_parts import (
    GZIP_LEVEL,
    MOST_ERRORS,
    PART_AGE,
    PART_BYTES,
    PART_LINES,
    LineRefused,
    Part,
    Progress,
    name_batch,
)


class Upload:
    """One upload to one batch. `options` is the query of `POST /v1/batches`, including the `id`."""

    def __init__(
        self,
        transport: Transport,
        caller: PatientCaller,
        reference: Reference,
        batch: str,
        options: Params,
        *,
        folder: Folders | None,
        clock: Callable[[], float],
        progress: Progress | None,
    ) -> None:
        self._transport, self._caller, self._reference = transport, caller, reference
        self._batch, self._options, self._folder, self._clock = batch, options, folder, clock
        self._progress = progress or (lambda _: None)
        self._done = BatchAccepted(id=batch, accepted=0)
        self._begun = False

    def send_in_parts(self, lines: Iterator[Numbered]) -> BatchAccepted:
        """Send the lines in parts. Refused lines are listed and do not stop the others.

        Raises Invalid when the batch exists with other lines. Every error, also of the source of the lines, gets the
        `repeat_id` of an upload that is half done.
        """
        try:
            return self._send_in_parts(lines)
        except BaseException as error:  # also Ctrl-C: jobs that have been enqueued cost money
            enqueued = self._done.accepted + self._done.known + getattr(error, "enqueued", 0)
            refused = isinstance(error, ApiError) and not isinstance(error, TooBusy | ServerFault)
            if self._begun and (enqueued or not refused):
                name_batch(error, self._batch, enqueued)
            raise

    def _send_in_parts(self, lines: Iterator[Numbered]) -> BatchAccepted:
        part = Part(self._clock())
        sent = False
        for number, line in lines:
            try:
                request, has_own_id = self._with_id(number, line)
            except LineRefused as error:
                self._add_refused(error.line)
                continue
            if not request.strip():
                continue
            part.numbers.append(number)
            part.lines.append(request)
            part.size += len(request)
            if not has_own_id:
                part.generated.add(number)
            old = self._clock() - part.started > PART_AGE
            if len(part.lines) >= PART_LINES or part.size >= PART_BYTES or old:
                self._send(part)
                part, sent = Part(self._clock()), True
        if part.lines or not sent:
            self._send(part)  # an empty upload creates an empty batch
        return self._done

    def send_at_once(self, lines: Iterator[Numbered], key: str | None = None) -> BatchAccepted:
        """Send all lines in one request, from a temporary file. `key` is the request's Idempotency-Key.

        Raises UsageError, with the refused `lines`, when a line cannot be sent and there is no key.
        """
        with self._packed(lines) as (path, refused):
            if refused and key is None:
                nothing = UsageError(f"Nothing was sent: {len(refused):,} lines cannot be sent. Correct them.")
                nothing.lines = tuple(refused[:MOST_ERRORS])
                raise nothing
            answer = self._caller(lambda: self._transport.post_lines("/v1/batches", path, self._options, key=key))
        self._done = read_accepted(answer)
        for one in refused:
            self._add_refused(one)
        self._progress(self._done)
        return self._done

    def quote(self, lines: Iterator[Numbered]) -> Quote:
        """Ask what the lines would cost, in one request, from a temporary file. Nothing is enqueued."""
        with self._packed(lines) as (path, refused):
            answer = self._caller(lambda: self._transport.post_lines("/v1/quote", path, self._options))
        return read_quote(answer).with_refused(refused)

    @contextmanager
    def _packed(self, lines: Iterator[Numbered]) -> Iterator[tuple[Path, list[LineError]]]:
        """Yield a temporary gzip file of all lines, and the lines that cannot be sent: they are empty in the file."""
        refused: list[LineError] = []
        with tempfile.TemporaryDirectory(prefix="boomerang-") as folder:
            path = Path(folder, "lines.gz")
            with gzip.open(path, "wb", compresslevel=GZIP_LEVEL) as file:
                next_number = 1
                for number, line in lines:
                    file.write(b"\n" * (number - next_number))  # so that the service counts lines as their author does
                    try:
                        text, _ = self._resolved(number, line)
                        file.write(text)
                    except LineRefused as error:
                        refused.append(error.line)
                    file.write(b"\n")
                    next_number = number + 1
            yield path, refused

    def _with_id(self, number: int, line: Line | LineError) -> tuple[bytes, bool]:
        """Return the line with an id, and whether it needed none: it has one, or it is no request at all."""
        text, request = self._resolved(number, line)
        if request is None or "external_task_id" in request:
            return text, True
        member = b'"external_task_id":' + json.dumps(f"{self._batch}.{number}").encode()
        return text.rstrip()[:-1] + (b"," if request else b"") + member + b"}", False

    def _resolved(self, number: int, line: Line | LineError) -> tuple[bytes, "Mapping[str, Any] | None"]:
        if isinstance(line, LineError):
            raise LineRefused(line)
        if not isinstance(line, bytes | Mapping):
            raise UsageError(f"Line {number} is {type(line).__name__}. Pass a mapping, or JSON as bytes.")
        given = parse_request(line)
        try:
            request = given if given is None else resolve_images(given, self._reference, self._folder)
            if isinstance(line, bytes) and request is given:
                return line.rstrip(b"\r\n"), request  # unchanged: the service names its mistakes
            return encode(request or {}, f"Line {number}"), request
        except (ImagesRefused, NotEncodable) as error:
            raise LineRefused(LineError(number, error.errors)) from error

    def _send(self, part: Part) -> None:
        body = in_thread(gzip.compress, b"\n".join(part.lines), GZIP_LEVEL)
        self._begun = True
        try:
            answer = self._caller(lambda: self._transport.post_lines("/v1/batches", body, self._options))
            done = read_accepted(answer)
        except Invalid as error:
            if error.line is None or not 0 < error.line <= len(part.numbers):
                raise
            # The service counts the lines of a part, its caller those of the upload.
            raise self._contradiction(part.numbers[error.line - 1]) from error
        # The first part created the batch with its options. Later parts must not repeat them,
        # because they can change: a resume can raise `max_cost`.
        self._options = {"id": self._batch}
        errors = [LineError(part.numbers[one.line - 1], one.errors, one.codes) for one in done.errors]
        conflicts = (one.line for one in errors if "external_task_id" in one.errors and one.line in part.generated)
        contradiction = next(conflicts, None)
        if contradiction is not None:
            raise self._contradiction(contradiction)
        self._add(done, errors)
        self._progress(self._done)

    def _contradiction(self, number: int) -> Invalid:
        return Invalid(
            422,
            detail=f"Line {number} is another request than before under the batch id {self._batch}. To continue that "
            "upload, keep its lines and their numbers: leave a refused line empty, and add lines at the end. "
            "Another upload needs another id, and all its lines are paid for.",
            line=number,
        )

    def _add(self, part: BatchAccepted, errors: list[LineError]) -> None:
        before = self._done
        self._done = BatchAccepted(
            id=part.id,
            accepted=before.accepted + part.accepted,
            known=before.known + part.known,
            rejected=before.rejected + part.rejected,
            errors=tuple(sorted((*before.errors, *errors), key=lambda one: one.line)[:MOST_ERRORS]),
            pilot=part.pilot if part.pilot is not None else before.pilot,
            warnings=part.warnings or before.warnings,
        )

    def _add_refused(self, line: LineError) -> None:
        self._add(BatchAccepted(id=self._done.id, accepted=0, rejected=1), [line])
