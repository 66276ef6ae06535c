"""Uploads of batches, in parts: each is kept until it is answered, so even a generator's lines can be sent again.

A line without an `external_task_id` becomes the job `<batch>.<line number>`, the id that the service itself would give
it if it came in one piece. So a part may be sent twice, and so may the whole.
"""

import gzip
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boomerang_client.errors import Invalid, LineError, UsageError
from boomerang_client.image_uploads import Picture, PicturesRefused, resolve
from boomerang_client.ndjson import Numbered, encode, parsed
from boomerang_client.parsing import read_accepted
from boomerang_client.responses import BatchAccepted
from boomerang_client.retrying import Steady
from boomerang_client.transport import Params, Transport

PART_LINES = 5_000
PART_BYTES = 4 * 1024 * 1024
#: Seconds after which what there is is sent when the next line comes, however little: lines may come slowly.
PART_AGE = 2.0
#: Refused lines that are kept; the rest is counted.
MOST_ERRORS = 1_000
_PACKED = 1  # gzip's level: lines of JSON shrink to a fifth at almost no cost

Progress = Callable[[BatchAccepted], None]


@dataclass
class _Part:
    """Lines on their way: `made` are the numbers of those whose ids were made here."""

    began: float
    numbers: list[int] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    made: set[int] = field(default_factory=set)
    size: int = 0


class Upload:
    """One upload to one batch. `options`: the query of `POST /v1/batches`, its `id` included."""

    def __init__(
        self,
        transport: Transport,
        steady: Steady,
        reference: Callable[[Picture], str],
        batch: str,
        options: Params,
        *,
        folder: Path | None,
        clock: Callable[[], float],
        progress: Progress | None,
    ) -> None:
        self._transport, self._steady, self._reference = transport, steady, reference
        self._batch, self._options, self._folder, self._clock = batch, options, folder, clock
        self._progress = progress or (lambda _: None)
        self._done = BatchAccepted(id=batch, accepted=0)

    def in_parts(self, lines: Iterator[Numbered]) -> BatchAccepted:
        """Take in what is acceptable; the other lines are listed. Raises Invalid where this is another upload."""
        part = _Part(self._clock())
        sent = False
        for number, line in lines:
            try:
                request, own = self._ready(number, line)
            except PicturesRefused as error:
                self._refuse(LineError(number, error.errors))
                continue
            if not request.strip():
                continue
            part.numbers.append(number)
            part.lines.append(request)
            part.size += len(request)
            if not own:
                part.made.add(number)
            old = self._clock() - part.began > PART_AGE
            if len(part.lines) >= PART_LINES or part.size >= PART_BYTES or old:
                self._send(part)
                part, sent = _Part(self._clock()), True
        if part.lines or not sent:
            self._send(part)  # a batch of nothing is one all the same
        return self._done

    def whole(self, lines: Iterator[Numbered], key: str | None) -> BatchAccepted:
        """Take in all lines or none, in one request; or what is acceptable, under an Idempotency-Key."""
        refused: list[LineError] = []
        with tempfile.TemporaryDirectory(prefix="boomerang-") as folder:
            path = Path(folder, "lines.gz")
            with gzip.open(path, "wb", compresslevel=_PACKED) as file:
                at = 1
                for number, line in lines:
                    file.write(b"\n" * (number - at))  # so that the service counts as the author does
                    try:
                        file.write(self._resolved(number, line)[0])
                    except PicturesRefused as error:
                        refused.append(LineError(number, error.errors))
                    file.write(b"\n")
                    at = number + 1
            if refused and key is None:
                wrong = UsageError(f"Nothing was sent: {len(refused)} lines have pictures that the API would not take.")
                wrong.lines = tuple(refused[:MOST_ERRORS])
                raise wrong
            answer = self._steady(lambda: self._transport.post_lines("/v1/batches", path, self._options, key=key))
        self._done = read_accepted(answer)
        for one in refused:
            self._refuse(one)
        self._progress(self._done)
        return self._done

    def _ready(self, number: int, line: "Mapping[str, Any] | bytes") -> tuple[bytes, bool]:
        """The line under an id, and whether it had one of its own (or is none, which the service says better)."""
        text, request = self._resolved(number, line)
        if request is None or "external_task_id" in request:
            return text, True
        member = b'"external_task_id":' + json.dumps(f"{self._batch}.{number}").encode()
        return text.rstrip()[:-1] + (b"," if request else b"") + member + b"}", False

    def _resolved(self, number: int, line: "Mapping[str, Any] | bytes") -> tuple[bytes, "Mapping[str, Any] | None"]:
        if not isinstance(line, bytes | Mapping):
            raise UsageError(f"Line {number} is {type(line).__name__}; give a mapping, or JSON as bytes.")
        given = parsed(line)
        request = given if given is None else resolve(given, self._reference, self._folder)
        if isinstance(line, bytes) and request is given:
            return line.rstrip(b"\r\n"), request  # untouched: its mistakes are the service's to name
        return encode(request or {}, f"Line {number}"), request

    def _send(self, part: _Part) -> None:
        body = gzip.compress(b"\n".join(part.lines), _PACKED)
        done = read_accepted(self._steady(lambda: self._transport.post_lines("/v1/batches", body, self._options)))
        # The first part began the batch with its options. They may be changed from now on: a resume raises its cap.
        self._options = {"id": self._batch}
        errors = [LineError(part.numbers[one.line - 1], one.errors, one.codes) for one in done.errors]
        another = next((one.line for one in errors if "external_task_id" in one.errors and one.line in part.made), None)
        if another is not None:
            # The service says the same of a first part, whose lines it counts as we do.
            raise Invalid(
                422,
                detail=f"Line {another} is another request than before under the batch id {self._batch}. "
                "Send another upload under another id.",
            )
        self._add(done, errors)
        self._progress(self._done)

    def _add(self, part: BatchAccepted, errors: list[LineError]) -> None:
        known = self._done
        self._done = BatchAccepted(
            id=part.id,
            accepted=known.accepted + part.accepted,
            known=known.known + part.known,
            rejected=known.rejected + part.rejected,
            errors=tuple(sorted((*known.errors, *errors), key=lambda one: one.line)[:MOST_ERRORS]),
        )

    def _refuse(self, line: LineError) -> None:
        self._add(BatchAccepted(id=self._done.id, accepted=0, rejected=1), [line])
