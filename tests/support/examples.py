"""How many examples Hypothesis draws."""

from hypothesis import settings

#: Most examples of a test in the profile `quick` (`make check`).
QUICK = 25


def examples(number: int) -> int:
    """Return `number`, or at most `QUICK` in the profile `quick`, which settings of a test's own would replace."""
    return min(number, QUICK) if settings.default.max_examples == QUICK else number
