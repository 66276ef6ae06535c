"""The audit of bulk actions."""

from collections.abc import Iterator

from jobs.audit.findings import Check, Finding, Reader


def bulk_findings(reader: Reader) -> Iterator[Finding]:
    """Yield every bulk action. The second check finds those that are not listed rightly, or cannot be read."""
    listed = reader.keys.singleton("bulks")
    for each in sorted({*reader.names["bulk"], *reader.members(listed)}):
        detail = "it is under way but not listed, or the other way round"
        remedy = f"ZADD {listed} 0 {each} if it is under way: the rest is then done. Else ZREM it."
        yield Finding("bulk", each, detail, remedy, Check("repair_bulk", (each,), "bulk"))
        detail = "its description cannot be read"
        remedy = f"DEL {reader.keys.member('bulk', each)}, ZREM {listed} {each}; then begin it again."
        yield Finding("bulk", each, detail, remedy, Check("repair_bulk", (each,), "broken", repairs=False))
