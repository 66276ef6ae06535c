"""Boomerang's documented API in memory, with faults that a test chooses.

`fake_boomerang_http` serves it. Tests in tests/client compare its responses with the service's OpenAPI document.
"""

import gzip
import hashlib
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

from schemas import BodyInvalid, parse_json

KEY = "test-key-3f9a1c"
STATES = ("queued", "submitting", "in_doubt", "in_progress", "completed", "failed", "cancelled", "expired")
FINAL = frozenset(STATES[4:])
TIME = "2026-11-20T10:00:00Z"


@dataclass
class Fault:
    """Replaces the next response. `after`: the request is carried out first, and only its response is lost."""

    status: int | None = None  # None: the connection is cut
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: bool = False


@dataclass
class Seen:
    method: str
    path: str
    query: dict[str, str]
    raw_query: str
    headers: dict[str, str]
    body: bytes


class Refused(Exception):
    def __init__(self, status: int, detail: str = "", **more: Any) -> None:
        self.status = status
        self.problem = {"type": "about:blank", "title": "Refused", "status": status, "detail": detail, **more}


class FakeService:
    def __init__(self) -> None:
        self.url = ""
        self.faults: deque[Fault] = deque()
        self.seen: list[Seen] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.requests: dict[str, Any] = {}
        self.batches: dict[str, list[str]] = {}
        self.page = 2  # small, so that clients must follow cursors
        self.per_look = 1000  # how many jobs end before each request for a batch
        self.paused: set[str] = set()
        self.held: set[str] = set()
        self.polls_before_end = 0  # how many requests for a job find it unfinished
        self.results_cut_after: int | None = None
        self.events_cut_after: int | None = None  # events of each stream before it breaks off
        self.options: dict[str, dict[str, list[str]]] = {}  # options of batches, from their first upload
        self.images: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}  # results by the name in their URL; others are on another host
        self.capacity: int | None = None  # how many jobs are accepted before the service is full
        self.strict = False  # lines are parsed as the service does it
        self.still = False  # jobs end only when the test ends them
        self.lanes = [dict(LANE)]
        self.troubles: list[dict[str, Any]] = []
        self.on_request: Callable[[], None] = lambda: None

    def paths(self) -> list[str]:
        return [f"{one.method} {one.path}" for one in self.seen]

    def answer(self, seen: Seen) -> tuple[int, Any]:  # noqa: C901, PLR0911, PLR0912 -- a table of the API, a line a call
        if seen.headers.get("authorization") != f"Bearer {KEY}" and not seen.path.startswith("/files/"):
            raise Refused(401, "This key is not known. Ask the service's owner for one.")
        many = parse_qs(seen.raw_query)
        match seen.method, *[unquote(part) for part in seen.path.strip("/").split("/")]:
            case (("HEAD" | "GET"), "v1", "images", id_) if id_ in self.images:
                return 200, {"id": id_}
            case "POST", "v1", "images":
                id_ = f"image:sha256:{hashlib.sha256(seen.body).hexdigest()}"
                self.images[id_] = seen.body
                return 201, {"id": id_, "size": len(seen.body), "width": 300, "height": 300, "format": "png"}
            case "GET", "v1", "batches":
                return 200, self.listed_batches(many)
            case "GET", "v1", "batches", id_, "events":
                return 200, Events(self.progress, id_)
            case "GET", "v1", "batches", id_, "errors":
                return 200, [job for one in self.known_batch(id_) if (job := self.jobs[one])["status"] == "failed"]
            case "GET", "v1", "lanes":
                return 200, {"lanes": self.lanes, "troubles": self.troubles, "last_round_age": 0.4}
            case "GET", "v1", "spend":
                row = {"name": "2026-11-20", "cost": "1.23", "jobs": 3}
                return 200, {"by": seen.query["by"], "rows": [row], "cost": "1.23", "jobs": 3}
            case "POST", "v1", "jobs":
                request = json.loads(seen.body)
                status = self.take(request, request["external_task_id"], None)
                return status, self.jobs[request["external_task_id"]]
            case "GET", "v1", "jobs":
                return 200, self.listed(seen.query)
            case "GET", "v1", "jobs", id_:
                return 200, self.polled(id_)
            case "POST", "v1", "jobs", id_, ("cancel" | "retry" | "pause" | "resume") as verb:
                return 200, self.changed(id_, verb)
            case "POST", "v1", "batches":
                id_ = seen.query.get("id") or "key-" + seen.headers["idempotency-key"]
                self.options.setdefault(id_, many)
                return 201, self.batch(id_, gzip.decompress(seen.body), whole=many.get("on_error") == ["abort"])
            case "POST", "v1", "bulk":
                return 202, bulk(json.loads(seen.body), len(self.jobs))
            case "POST", "v1", "quote":
                return 200, quoted(gzip.decompress(seen.body))
            case "GET", "v1", "batches", id_:
                return 200, self.progress(id_)
            case "POST", "v1", "batches", id_, ("pause" | "resume" | "approve" | "cancel" | "retry") as verb:
                return 200, self.batch_changed(id_, verb, many)
            case "GET", "v1", "batches", id_, "results":
                states = many.get("status", STATES)
                return 200, [job for one in self.known_batch(id_) if (job := self.jobs[one])["status"] in states]
            case "GET", "files", name if name in self.files:
                return 200, self.files[name]
        raise Refused(404, "There is nothing at this path.")

    def take(self, request: dict[str, Any], id_: str, batch: str | None) -> int:
        errors = {}
        if "model" not in request:
            errors["model"] = ["Missing. Name one of: kirin_image_omni."]
        if not 1 <= request.get("n", 1) <= 9:
            errors["n"] = ["Must be between 1 and 9."]
        if errors:
            raise Refused(422, "The request is invalid.", errors=errors, codes=["002016003"] if "n" in errors else [])
        if id_ in self.jobs:
            if self.requests[id_] != request:
                raise Refused(409, f"{id_} belongs to another request. Use another external_task_id.")
            return 200
        if self.capacity is not None and len(self.jobs) >= self.capacity:
            raise Refused(429, "The service is full. Send the same again later.", after=30)
        self.requests[id_] = request
        self.jobs[id_] = {
            "id": id_, "status": "queued", "model": request["model"], "output": [], "error": None, "usage": None,
            "attempt": 1, "external_task_id": id_, "created_at": TIME, "updated_at": TIME, "finished_at": None,
            "settled_by": None, "batch": batch, "owner": "shop", "labels": request.get("labels", {}), "reason": None,
            "priority": request.get("priority", "normal"), "expires_at": None, "lane": None, "warnings": [],
            "unknown_cost": None, "saving": None, "regenerates": None, "regenerated_by": None,
            "cost": None, "class": None, "revision": 1, "provider_external_id": f"{id_}@shop",
        }  # fmt: skip
        return 201

    def end(self, id_: str) -> None:
        job = self.jobs[id_]
        job |= {"finished_at": "2026-11-20T10:00:12.500000+00:00", "settled_by": "callback"}
        if "fail" in self.requests[id_].get("prompt", ""):
            job |= {
                "status": "failed",
                "error": {"code": "002016095", "message": "Internal \x1b[31merror"},
                "class": "transient",
            }
        else:
            at = f"{self.url}/files" if self.files else "https://images.example"
            count = self.requests[id_].get("n", 1)
            images = [
                {"type": "image", "url": f"{at}/{id_}.png{f'?{number}' * bool(number)}"} for number in range(count)
            ]
            job |= {
                "status": "completed",
                "output": images,
                "usage": {"cost": "0.0065", "discount": 1},
                "cost": "0.0065",
            }

    def known(self, id_: str) -> dict[str, Any]:
        if id_ not in self.jobs:
            raise Refused(404, f"There is no job {id_}. Check the id.")
        return self.jobs[id_]

    def polled(self, id_: str) -> dict[str, Any]:
        job = self.known(id_)
        if job["status"] not in FINAL and not self.still:
            job["status"] = "in_progress"
            if self.polls_before_end <= 0:
                self.end(id_)
            self.polls_before_end -= 1
        return job

    def listed(self, query: dict[str, str]) -> dict[str, Any]:
        found = [
            job
            for job in self.jobs.values()
            if query.get("status") in (None, job["status"]) and query.get("batch") in (None, job["batch"])
        ]
        start, size = int(query.get("cursor", 0)), min(self.page, int(query["limit"]))
        return {"jobs": found[start : start + size], "cursor": str(start + size) if start + size < len(found) else None}

    def changed(self, id_: str, verb: str) -> dict[str, Any]:
        job = self.known(id_)
        if verb in ("pause", "resume"):
            if job["status"] != "queued":
                raise Refused(409, f"{id_} is {job['status']}; {verb} is not possible now.")
            job["reason"] = "paused on request" if verb == "pause" else None
            return job
        if (job["status"] in FINAL) is (verb == "cancel"):
            raise Refused(409, f"{id_} is {job['status']}; {verb} is not possible now.")
        job["status"] = "cancelled" if verb == "cancel" else "queued"
        return job

    def batch(self, id_: str, body: bytes, *, whole: bool = False) -> dict[str, Any]:
        counts, errors = {200: 0, 201: 0}, []
        members = self.batches.setdefault(id_, [])
        for number, line in enumerate(body.split(b"\n"), start=1):
            if not line.strip():
                continue
            try:
                request: Any = parse_json(line) if self.strict else json.loads(line)
                job = request.get("external_task_id", f"{id_}.{number}")
                counts[self.take(request, job, id_)] += 1
            except (ValueError, BodyInvalid):
                errors.append({"line": number, "errors": {"request": ["is not JSON"]}, "codes": []})
                continue
            except Refused as refused:
                if refused.status == 429:
                    raise
                found = refused.problem.get("errors", {"external_task_id": ["is taken by another request"]})
                errors.append({"line": number, "errors": found, "codes": refused.problem.get("codes", [])})
                continue
            if job not in members:
                members.append(job)
        if whole and errors:
            for job in members:
                del self.jobs[job]
            del self.batches[id_]
            raise Refused(422, "Nothing was enqueued: some lines are refused. Correct them.", errors=errors)
        view = {"id": id_, "accepted": counts[201], "known": counts[200], "errors": errors, "rejected": len(errors)}
        pilot = self.options[id_].get("pilot")
        if pilot or self.options[id_].get("paused"):
            self.held.add(id_)
        return {**view, "pilot": int(pilot[0]) if pilot else None, "warnings": []}

    def listed_batches(self, query: dict[str, list[str]]) -> dict[str, Any]:
        wanted = query.get("label", [])
        found = [
            self.batch_view(id_)
            for id_ in self.batches
            if set(wanted) <= set(self.options.get(id_, {}).get("label", []))
        ][::-1]
        found = [each for each in found if query.get("status", [state_of(each)]) == [state_of(each)]]
        start, size = int(query.get("cursor", ["0"])[0]), min(self.page, int(query["limit"][0]))
        more = str(start + size) if start + size < len(found) else None
        return {"batches": found[start : start + size], "cursor": more}

    def batch_changed(self, id_: str, verb: str, query: dict[str, list[str]]) -> dict[str, Any]:
        jobs = [self.jobs[one] for one in self.known_batch(id_)]
        if verb == "retry":
            states, codes = query.get("status", ["failed"]), query.get("code")
            found = [
                job
                for job in jobs
                if job["status"] in states and (not codes or not job["error"] or job["error"]["code"] in codes)
            ]
        else:
            found = [job for job in jobs if job["status"] not in FINAL]
        if verb == "approve":
            self.held.discard(id_)
        elif verb in ("pause", "resume"):
            self.paused = (self.paused | {id_}) if verb == "pause" else (self.paused - {id_})
        elif query.get("dry_run") != ["true"]:
            for job in found:
                job["status"] = "cancelled" if verb == "cancel" else "queued"
        return {"id": id_, "action": verb, "affected": len(found), "pending": 0}

    def known_batch(self, id_: str) -> list[str]:
        if id_ not in self.batches:
            raise Refused(404, f"There is no batch {id_}. Check the id.")
        return self.batches[id_]

    def progress(self, id_: str) -> dict[str, Any]:
        members = self.known_batch(id_)
        ending = 0 if self.still else self.per_look
        for job in [one for one in members if self.jobs[one]["status"] not in FINAL][:ending]:
            self.end(job)
        return self.batch_view(id_)

    def batch_view(self, id_: str) -> dict[str, Any]:
        members, given = self.batches[id_], self.options.get(id_, {})
        counts = {state: sum(self.jobs[one]["status"] == state for one in members) for state in STATES}
        done = sum(counts[state] for state in FINAL) == len(members)
        return {
            "id": id_, "accepted": len(members), "counts": counts, "done": done, "cost": "1.23", "created_at": TIME,
            "owner": "shop",
            "errors": {}, "classes": {}, "rate": 2.5, "eta": None, "unknown_costs": 0, "to_save": 0, "unsaved": 0,
            "paused": id_ in self.paused | self.held,
            "reason": None, "awaits_approval": id_ in self.held, "pilot": None,
            "labels": dict(label.split("=", 1) for label in given.get("label", [])), "expected_cost": "2.00",
            "priority": given.get("priority", ["normal"])[0], "weight": int(given.get("weight", ["1"])[0]),
            "max_cost": given.get("max_cost", [None])[0], "reviews": {"accepted": 0, "rejected": 0, "starred": 0},
        }  # fmt: skip


def quoted(body: bytes) -> dict[str, Any]:
    jobs = sum(bool(line.strip()) for line in body.split(b"\n"))
    price = {"base": "learned", "expected": "0.05", "low": "0.03", "median": "0.04", "high": "0.05"}
    kind = {"model": "kirin_image_omni", "n": 1, "resolution": "", "jobs": jobs, **price}
    return {
        "accepted": jobs, "known": 0, "rejected": 0, "errors": [], "problems": [], "kinds": [kind], "unpriced": 0,
        "cost": {**price, "expected": "1.50"}, "seconds": 640.0,
        "blocks": [{"code": "max_cost", "message": "max_cost is too low"}],
    }  # fmt: skip


def bulk(asked: dict[str, Any], jobs: int) -> dict[str, Any]:
    return {
        "id": "4f0c1d7a9b2e8356", "action": asked["action"], "status": "done", "dry_run": asked.get("dry_run", False),
        "filter": asked["filter"], "producer": "shop", "key": "k1a2b3c4", "affected": jobs, "at_provider": 0,
        "skipped": {"working": 1}, "cost": quoted(b"")["cost"], "progress": 1.0, "began_at": TIME, "finished_at": TIME,
    }  # fmt: skip


def state_of(batch: dict[str, Any]) -> str:
    return "done" if batch["done"] else "paused" if batch["paused"] else "running"


LANE = {
    "name": "main", "slots": 12, "max_in_flight": 64, "limit": 64, "window": 3, "ready": 3400, "configured": True,
    "held": True, "held_until": None, "breaker": "closed", "reason": "402: balance exhausted", "spent": "1.23",
}  # fmt: skip


@dataclass
class Events:
    """A stream of a batch's events."""

    look: Callable[[str], dict[str, Any]]
    id: str
