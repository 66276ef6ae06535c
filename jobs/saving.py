"""The rules of saving results: leases, turns, and when a failed try is repeated or given up.

A queue of results to save belongs to one producer and one lane, because a lane's provider serves its results.
"""

from jobs.policy import backoff

#: Seconds before a failed save is repeated, doubled with each failure up to the longest.
BASE = 2.0
LONGEST = 300.0
#: Seconds before the expiry at which a save is tried once more.
LAST_CHANCE = 30.0
#: Times in a row that a server may send a file that cannot be the result, for the same reason. Some servers answer 200
#: with a page once a file has expired; the tries take an hour, so an outage of that length costs no result.
MOST_WRONG_FILES = 20
#: Seconds of the lease on a save, and between two renewals of it. So what a killed worker held is soon tried again.
LEASE = 60.0
RENEW_EVERY = 20.0
#: Seconds without a byte after which the lease of a save is renewed no more: its worker hangs.
LONGEST_SILENCE = 900.0
#: Seconds left of a lease that show that its worker renews it no more.
UNRENEWED = LEASE / 2
#: Seconds after their expiry for which results may still be saved, before a round of reconcile gives them up.
MARGIN = 3600.0
#: Seconds after which a message that asks a worker to save results counts as lost.
HINT = 10.0
#: Seconds for which the announcement of a result store holds (announce_saves.lua), and between two of them.
ANNOUNCED = 3600.0
ANNOUNCE_EVERY = 60.0
#: Seconds between two removals of what killed workers left in the result store.
SWEEP_EVERY = 3600.0
#: Most queues that one claim looks at; more than the places that BOOMERANG_MAX_SAVING allows.
MOST_TURNS = 600
#: Seconds until a held delivery is looked at again, in case nothing releases it.
HELD_RECHECK = 3600.0


def next_save(failures: int, left: float, random: float) -> float | None:
    """Return the wait in seconds before a failed save is repeated, after `failures` earlier ones; None: give it up.

    `left`: seconds until the provider deletes the results. The last try comes shortly before. `random` in [0, 1).
    """
    if left <= LAST_CHANCE:
        return None
    return min(backoff(BASE, LONGEST, failures, random), left - LAST_CHANCE / 2)


def constants() -> str:
    """Return the numbers of the scripts as Lua constants, times in µs."""
    return (
        f"local MOST_TURNS={MOST_TURNS}\nlocal HELD_RECHECK={HELD_RECHECK * 1e6:.0f}\n"
        f"local SAVE_HINT={HINT * 1e3:.0f}\nlocal SAVE_MARGIN={MARGIN * 1e6:.0f}\n"
        f"local SAVE_RENEWED={UNRENEWED * 1e6:.0f}\n"
    )
