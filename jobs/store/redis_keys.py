"""Every Redis key of the state, built here and nowhere else; the Lua scripts get their names from here too.

All keys share one hash tag, so that a script's keys live in one slot of a Redis Cluster. The prefix is short because it
is stored twice for every job.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

#: name → suffix of a key that exists once.
SINGLE: Mapping[str, str] = {
    "event_alarms": "event-alarms",  # ZSET event of a batch → µs at which its notification is due
    "alarms": "alarms",  # ZSET id → µs at which the service must look at the job again
    "doubts": "doubts",  # ZSET id → µs since when the outcome of its attempt is unknown
    "unreadable": "unreadable",  # ZSET id → µs since the provider gives no readable answer about its attempt
    "undelivered": "undelivered",  # ZSET id → µs when a delivery of its end was given up
    "unknown_costs": "unknown-costs",  # ZSET id → µs when a result of it came whose cost is not known
    "damaged": "damaged",  # ZSET id → µs when a round found its record damaged; `boomerang-server stuck` lists them
    "at_cap": "at-cap",  # ZSET batch → µs when it was paused at its max_cost
    "awaiting": "awaiting",  # ZSET batch → µs since when it waits for an approval and nothing of it runs
    "on_request": "on-request",  # ZSET batch → µs since when it is paused on request
    "batch_ends": "batch-ends",  # ZSET batch → µs when the last of its jobs ended; bounded
    "notices": "notices",  # ZSET target, `<target>|<notice>` → µs of the last message to it, and with the notice
    "claimed_notices": "notices-claimed",  # ZSET `<target>|<notice>` → µs at which the lease of its message ends
    "sweeps": "sweeps",  # ZSET batch → µs when a change of all its jobs began, which goes on step by step
    "bulks": "bulks",  # ZSET bulk action under way → µs of its last step
    # HASH last (creation), indexed_from (from then on producers' jobs and batches are indexed), spent, past (spent on
    # forgotten days), contradicted, image_bytes, purged (jobs deleted so far), round (of reconcile), resumed (the first
    # round after a stall); and of announce_saves.lua: saves, saves_from, saves_back, saves_until; saved (results
    # so far)
    "totals": "totals",
    # HASH the record of the installation: installation (its id), accepted (jobs so far), lost (why it takes no work),
    # expected, lost_at, trusted (older sightings no longer count as a loss). And of the epoch: run (the id of the Redis
    # process that was last seen), number, since, before (jobs from before then are looked up), calm (look-ups count
    # from then on)
    "epoch": "epoch",
    "heartbeats": "heartbeats",  # HASH first, busy, cut_off, reads:<queue> → µs of a worker's heartbeat
    "witness": "witness",  # HASH installation → its last sighting, as JSON; in the broker (jobs.store.witness)
    # HASH price class (model|n|resolution), <price class>|<owner> → last costs in nano-dollars, newest first, spaced
    "prices": "prices",
    "reserved": "reserved",  # HASH l<lane>, b<batch>, k<key> → nano-dollars; ?<price class> → jobs of unknown price
    "unfinished": "unfinished",  # HASH owner → unfinished jobs, of those that have a size
    "stored": "stored",  # HASH owner → bytes of jobs that are stored
    "image_owners": "image-owners",  # HASH hash of an image → the owner whose stored bytes count it
    "stored_images": "stored-images",  # HASH owner → bytes of these images
    "capped": "capped",  # ZSET queue → µs when its cap is checked again; until then admission leaves it out
    "days": "days",  # ZSET day since 1970 → itself: the days that have a ledger
    "pools": "pools",  # HASH pool → names of the lanes that admit from it, separated by spaces
    "limits": "limits",  # HASH l<lane>|<limit>, k<key>|<limit> → its changed value, since and until when, as JSON
    "lanes": "lanes",  # SET names of all lanes that ever had a job
    "written": "written",  # STRING written before waiting for replicas, never read
    "repair": "repair",  # STRING the lock of the process that is correcting counters (jobs.audit.repair)
    "admit_hint": "wake",  # STRING a hint to admit is under way
    "save_hint": "save-hint",  # STRING a hint to save results is under way
    "reconcile_hint": "ring",  # STRING a hint to reconcile is under way
    "revoked": "revoked",  # ZSET Celery id → µs of a revoke that came before its message; bounded, kept for hours
    # ZSET mark of a refused Celery message → µs of its end, `?` and the mark → µs since when a worker is ending it
    "refused": "refused",
    "producers": "producers",  # SET names of the producers that ever had a job or batch
    # ZSET `<owner>|<receiver>|<job id>` → µs at which the lease of a notification under way ends
    "notifying": "notifying",
    # ZSET `<owner>|<receiver>` whose circuit breaker is open → µs of its last failure; bounded like `receivers`
    "open_receivers": "open-receivers",
    "manifests": "manifests",  # ZSET batch → µs at which its manifest in the result store is written anew
    "manifest_rests": "manifest-rests",  # ZSET batch → µs until which its manifest rests after it was written
    "saves": "saves",  # ZSET id → µs since when its results are to be saved
    "unsaved": "unsaved",  # ZSET id → µs since when its results are no longer tried to save
    "saving": "saving",  # ZSET `<owner>|<lane>|<job id>` → µs at which the lease of a save under way ends
    "save_turns": "save-turns",  # ZSET `<owner>|<lane>` with results to save → µs when it was last considered
    "waiting_owners": "waiting-owners",  # ZSET owner with waiting notifications → µs when it was last considered
    "ended_minutes": "ended-minutes",  # ZSET minute since 1970 → itself: those with counters of ended jobs
    "ended_hours": "ended-hours",  # ZSET hour since 1970 → itself, likewise
    "batches": "batches",  # ZSET batch id → created
    "images": "images",  # ZSET hash of an image → µs when a job last needed it; +inf while unfinished jobs refer to it
    "uses": "uses",  # HASH hash → how often unfinished jobs refer to it
    "kept": "kept",  # HASH hash → its object in the image store, its size and format, as JSON
    "holders": "holders",  # HASH hash → the producers that uploaded the image, with a space before and after each
    "going": "going",  # ZSET object → µs from which on it may be removed from the image store
    "access": "access",  # HASH as `Keys.access`, written by the version before; read until the keys are migrated
    "accessed": "accessed",  # HASH id of a producer's key → µs when it was last used, to about a minute
    "logged_out": "logged-out",  # ZSET id of a session that a person ended → when it would have ended, in seconds
    "trails": "trails",  # SET owners that have a stream of the audit trail
    "changes": "changes",  # STREAM id, state: changes for the event stream and Flower; bounded, may lose its oldest
}
#: name → suffix of a family of keys; the id, batch id or state name follows.
FAMILY: Mapping[str, str] = {
    "job": "j:",  # HASH the small record (its fields: jobs.fields)
    "text": "t:",  # STRING the request as canonical JSON
    "revisions": "rv:",  # LIST the earlier revisions of a job's request, oldest first, as JSON (jobs.revision)
    "revision_digests": "rd:",  # SET the SHA-1 of each of those requests
    # HASH number of an output → its review: marks, µs, key and note, as JSON (jobs.review)
    "reviews": "rw:",
    "marked": "mk:",  # ZSET `<number>:<job id>` → created: the outputs with a mark, of `<mark>|<batch>`
    "labels": "l:",  # STRING the producer's labels as JSON, where there are any
    "ended_minute": "hm:",  # HASH cell (jobs.history) → jobs that ended in that minute since 1970
    "ended_hour": "hh:",  # HASH the same of an hour
    # ZSET creation of the first → of the last, of each span of time in which an owner's jobs were accepted
    "spans": "os:",
    "batches_of": "ob:",  # ZSET batch id → created: the batches of an owner
    "tasks": "ti:",  # HASH 10 hex digits of a task id's digest → job id, of its first 4 digits (lua/shared/tasks.lua)
    "labelled": "y:",  # ZSET id → created: the jobs with the label `<name>=<value>`, not by their batch
    "grouped": "z:",  # ZSET batch id → created: the batches with that label
    "result": "r:",  # STRING output, error and usage as JSON
    "parked": "k:",  # HASH Celery id, line break, identity → the continuation of that parked message
    # HASH mark of a Celery message → 1 once it is finished, before: µs when a worker began; mark and `+` → how
    # often one began again
    "finished_messages": "kt:",
    "refusals": "kr:",  # STRING by mark of a refused Celery message: how often a worker began to end it; expires
    "celery": "kc:",  # STRING the job of a parked Celery message whose id is not the job's
    "state": "s:",  # ZSET id → created: one index for each state
    # A place is `<pool>|<class>`, a queue `<place>|b<batch>`, `<place>|p<batch>` for the pilot of the batch, or
    # `<place>|k<owner>` for jobs without a batch. A set of
    # fair queueing is `<pool>`, whose members are owners, or `<place>|<owner>`, whose members are that owner's queues.
    "ready": "q:",  # ZSET id → created: the jobs of one queue that wait for admission
    "queues": "f:",  # ZSET member → start tag: the members of a set that take part in admission
    "tags": "g:",  # ZSET member → finish tag of its last job, of members that left the set not long ago
    # HASH ready (jobs that wait), <class>|<owner> (weights of its queues that take part), virtual times: v<rank of
    # owners>, v<class>|<owner>; r|<owner> (its rank, if not normal), ranks (their checksum)
    "pool": "p:",
    # HASH slots, window, hold, why, level, since, tat, paused, paused_until, paused_why, spent, took, work: of a
    # provider account; and shared/lanes.lua
    "lane": "lane:",
    "history": "h:",  # LIST changes of a lane's breaker and learned limit, as JSON, newest first
    # HASH accepted, created, spent, counters by state, error code, price class and time; ends (jobs.batch_ends);
    # paused (why); resumed (when its last pause ended, or its last retry began); hold (approval, pilot: it waits for an
    # approval); approved (when); reviewed (1: an output of it has, or had, a mark);
    # pilot (its jobs), pilot_left (those that have not ended), pilot_spent (what was spent until it was approved); the
    # sweep under way; end_missed, saves_missed (what happened during a commit); end_waits (the event of its
    # end waits until its results are saved); its options: asked (as requested), and key, labels, class, weight, cap
    "batch": "b:",
    # By day: HASH $<lane>|<model>|<batch>|<key> → nano-dollars, # and the same → results; l<lane>, k<key> → nanos
    "spent": "d:",
    # By day: HASH $<label>=<value>|<key> → nano-dollars, # and the same → results; bounded (jobs.store.spending)
    "spent_labels": "dl:",
    "staged": "u:",  # LIST ids of an upload that is not complete; this and the next two expire
    "lines": "v:",  # HASH id → the job to accept, packed
    "pinned": "i:",  # SET hashes of the images that a staged upload names
    "object": "o:",  # STRING an image's bytes, where Redis is the image store
    "members": "m:",  # LIST job ids of a batch, in input order
    "receiver": "n:",  # HASH failures, open_until, pause, accepted: of an `<owner>|<receiver>`; expires
    "waiting_receivers": "wr:",  # ZSET receiver with waiting notifications of an owner → µs when last considered
    "waiting": "wn:",  # ZSET id → µs since when its notification waits: of an `<owner>|<receiver>`
    "receivers": "rs:",  # ZSET receiver of an owner → µs of its last answer to a notification; bounded
    "event": "ev:",  # HASH an event of a batch (shared/events.lua), by `!<batch>!<kind>.<number>`
    "batch_events": "be:",  # LIST the ids of a batch's events, oldest first; bounded
    "attempts": "na:",  # LIST the attempts of a job's notification, as JSON, newest last; bounded
    # ZSET id → µs of its last change: the notifications of an owner in a state (jobs.fields), of `<state>|<owner>`
    "notifications": "ns:",
    "batch_saves": "bs:",  # SET ids of a batch's jobs whose results are to be saved
    "batch_unsaved": "bu:",  # ZSET id → µs since when its results are no longer tried to save, of a batch's jobs
    "save_queue": "sq:",  # ZSET id → µs at which saving its results is tried next: of an `<owner>|<lane>`
    # HASH asked (the request as JSON), owner (who began it, or *), action, filter (as JSON), state; began, ended; dry,
    # class; of, index (what it reads), before, cursor, size (jobs in the index), checked; counters of jobs
    "bulk": "bk:",
    "bulks_of": "bo:",  # ZSET bulk action → µs when it began: of an owner; bounded
    "trail": "at:",  # STREAM the audit trail of a producer, or (*) of operators (jobs.audit_trail); bounded, expires
    "ended": "e:",  # CHANNEL publishes a message when the job ends
}

_TYPES = {
    "zset": "alarms doubts unreadable undelivered unknown_costs damaged at_cap sweeps capped days revoked refused "
    "awaiting on_request "
    "batches images logged_out "
    "spans batches_of "
    "going labelled grouped marked state ready queues tags notifying waiting_owners waiting_receivers waiting "
    "batch_ends notices claimed_notices "
    "receivers notifications event_alarms saves unsaved batch_unsaved saving save_turns save_queue manifests "
    "manifest_rests open_receivers bulks bulks_of ended_minutes ended_hours",
    "hash": "totals limits epoch heartbeats witness prices reserved unfinished stored image_owners stored_images "
    "pools uses kept holders access accessed job "
    "parked finished_messages pool lane batch spent spent_labels lines receiver event reviews bulk "
    "ended_minute ended_hour tasks",
    "string": "written repair admit_hint save_hint reconcile_hint text labels result refusals celery object",
    "set": "lanes producers trails pinned revision_digests batch_saves",
    "list": "history staged members batch_events attempts revisions",
    "stream": "changes trail",
}
#: name → the type of its key, as Redis calls it; channels have none.
TYPES: Mapping[str, str] = {name: type_ for type_, names in _TYPES.items() for name in names.split()}


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names under one prefix."""

    prefix: str = "{b}:"

    def singleton(self, name: str) -> str:
        """The key of that name."""
        return self.prefix + SINGLE[name]

    def member(self, name: str, member: str) -> str:
        """The key of that family for a job id, batch id or state."""
        return self.prefix + FAMILY[name] + member

    @property
    def access(self) -> str:
        """The HASH of producers' keys: id → name, hash of the secret and scopes, as JSON.

        Its prefix differs from that of all other keys: so Redis allows only the operator to write it (ops/access).
        """
        return f"{self.prefix.removesuffix(':')}keys:access"

    def lua(self, source: str) -> str:
        """Return Lua source with the names of keys as text: `KEY.alarms`, and for families the part before the id.

        A table of the names, built by each call of a script, would take a tenth of its time.
        """
        suffixes = {**SINGLE, **FAMILY}
        return re.sub(r"\bKEY\.(\w+)", lambda found: f"'{self.prefix}{suffixes[found[1]]}'", source)
