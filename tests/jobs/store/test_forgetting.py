"""Redis returns to an earlier state, again and again, during the random sequences of `test_life`.

Only Redis loses data: workers, provider and messages keep theirs. A worker notices each loss, with and without a
restart of Redis. No job is bought twice, and in the end every job has ended. The provider does not notice repeats.
"""

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from jobs.audit.audit import audit
from jobs.connections.client import connect
from jobs.store.installation import Judgement, Sighting, judge
from tests.jobs.store.test_life import THOROUGH, Life, search
from tests.support.bench import Bench


class Forgetful(Life):
    url = ""
    #: Producers send the lost jobs again by themselves here, and know only those that they made.
    regenerates = False

    @initialize(saves=st.sampled_from(["", "1", "first"]))
    def begin(self, saves: str) -> None:
        super().begin(saves)
        self.binary = connect(self.url, text=False)
        self.store.attempts.claim(["absent"])  # records which Redis this is
        self.pasts: list[tuple[Mapping[bytes, bytes], Any]] = []
        self.forgot = 0

    @rule()
    def remember(self) -> None:
        """Copy the data, as a file or a replica would hold them."""
        clock = (self.bench.keys.prefix + "clock").encode()
        kept: Any = {key: self.binary.dump(key) for key in self.binary.scan_iter(count=1000) if key != clock}
        self.pasts.append((kept, copy.copy(self.accepted)))

    @precondition(lambda self: self.pasts)
    @rule(data=st.data(), restarted=st.booleans())
    def forget(self, data: st.DataObject, restarted: bool) -> None:
        # The data must also be sound just before they are lost.
        assert audit(self.store) == []
        kept, accepted = data.draw(st.sampled_from(self.pasts))
        clock, seen = self.bench.now, self.store.continuity.standing().sighting
        self.binary.flushdb()
        for key, value in kept.items():
            self.binary.restore(key, 0, value)
        self.forgot += 1
        self.bench.raw.set(self.bench.keys.prefix + "clock", clock)
        if restarted:
            self.bench.raw.hset(self.bench.keys.singleton("epoch"), "run", f"process {self.forgot}")
        there = self.store.continuity.standing()
        # After a second return to the same moment no change is missing, but the epoch that the first return began is.
        went_back = there.last != seen.last or there.epoch < seen.epoch
        self.pasts = [past for past in self.pasts if past[0] is kept]
        # Producers send the lost jobs again at once.
        lost, self.accepted = [each for each in self.accepted if each not in accepted], copy.copy(accepted)
        if lost:
            self.enqueue(lost, other=False, batch=None, twice=False)
        self.a_worker_notices(seen, went_back, len(lost))
        # Results that Redis lost are expected again from the provider.
        self.kept.clear()
        self.spent = self.store.statistics.totals().cost
        self.read = "-"
        for task in self.tasks.values():
            task.recorded = False

    def a_worker_notices(self, seen: Sighting, went_back: bool, lost: int) -> None:
        """A worker compares first, although new jobs came before. It continues, as with BOOMERANG_TOLERATED_LOSS."""
        there = self.store.continuity.standing([seen])
        verdict = judge(there, [seen])
        assert verdict.lost_jobs >= lost
        if went_back or lost:
            assert verdict.judgement is Judgement.OLDER
            assert self.store.continuity.tolerate(there, seen)
            # What was seen before the data were accepted no longer counts, to the microsecond.
            self.bench.forward(1e-6)
            assert judge(self.store.continuity.standing([seen]), [seen]).judgement is Judgement.SOUND

    def a_forged_callback(self) -> None:
        """Do nothing: a job in doubt may have been sent, and only the token in the address would reveal a forgery."""

    @invariant()
    def check_promises(self) -> None:
        """Audit the store. `send` checks that no job is bought twice."""
        if hasattr(self, "pasts"):
            self.audit_sometimes()

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "binary"):
            self.binary.close()


@pytest.mark.slow
@pytest.mark.timeout(1800 if THOROUGH else 600)
def test_no_job_is_bought_twice_although_redis_loses_data(bench: Bench, redis_url: str) -> None:
    class Here(Forgetful):
        pass

    Here.bench, Here.url = bench, redis_url
    search(Here, 15)
