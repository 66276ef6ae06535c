"""The audit of batches: sweeps that are under way, and the lists of their jobs."""

from collections.abc import Iterator

from jobs.audit.findings import Check, Finding, Reader, whole


def sweep_findings(reader: Reader) -> Iterator[Finding]:
    """Yield the batches whose sweep has begun but is not listed, or the other way round."""
    sweeps = reader.keys.singleton("sweeps")
    sweeping = set(reader.members(sweeps))
    for batches in reader.steps(sorted({*reader.names["batch"], *sweeping})):
        with reader.client.pipeline(transaction=False) as pipe:
            for batch in batches:
                pipe.hexists(reader.keys.member("batch", batch), "do")
            begun = reader.ask(pipe)
        for batch in (batch for batch, is_begun in zip(batches, begun, strict=True) if is_begun != (batch in sweeping)):
            detail = "its sweep (cancel, retry or commit) has begun but is not listed, or the other way round"
            remedy = f"ZADD {sweeps} 0 {batch}: the rest is then done."
            yield Finding("sweep", batch, detail, remedy, Check("repair_sweep", (batch,), "sweep"))
            detail = "its sweep has begun, but the description of the sweep is incomplete"
            remedy = f"HDEL {reader.keys.member('batch', batch)} do; then cancel or retry it again."
            yield Finding("sweep", batch, detail, remedy, Check("repair_sweep", (batch,), "broken", repairs=False))


def member_findings(reader: Reader) -> Iterator[Finding]:
    """Yield the batches whose list of jobs and count of accepted jobs differ, both read at one moment."""
    of = reader.keys.member
    for batches in reader.steps(sorted(reader.names["batch"])):
        with reader.client.pipeline(transaction=True) as pipe:
            for batch in batches:
                pipe.hmget(of("batch", batch), ["created", "accepted"])
                pipe.llen(of("members", batch))
            answers = reader.ask(pipe)
        for batch, (created, accepted), listed in zip(batches, answers[::2], answers[1::2], strict=True):
            if created and listed != whole(accepted):
                detail = f"it lists {listed - whole(accepted):+d} jobs against those accepted"
                remedy = (
                    "Its results, and a cancel or retry of the whole batch, leave out the jobs that are not listed: "
                    "name those one by one."
                )
                yield Finding("members", batch, detail, remedy)


def event_findings(reader: Reader) -> Iterator[Finding]:
    """Yield the batches that have had events. The second check finds those whose events are wrong."""
    for batches in reader.steps(sorted(reader.names["batch"])):
        with reader.client.pipeline(transaction=False) as pipe:
            for batch in batches:
                pipe.hexists(reader.keys.member("batch", batch), "events_owed")
            there = reader.ask(pipe)
        for batch in (batch for batch, has_events in zip(batches, there, strict=True) if has_events):
            detail = "an event of it lacks its alarm or its place in an index, or their count is wrong"
            remedy = f"ZADD {reader.keys.singleton('event_alarms')} 0 the id of the event: it is sent again."
            yield Finding("event", batch, detail, remedy, Check("repair_event", (batch,), "event"))
