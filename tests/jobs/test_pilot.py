"""The choice of a pilot: spread over the upload and over its price classes, whatever its length."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from jobs.pilot import MOST_CLASSES, Sample


def chosen(size: int, classes: list[str]) -> list[int]:
    """Return the places, in the upload, of the jobs that are chosen."""
    sample = Sample(size)
    for place, price_class in enumerate(classes):
        sample.add(str(place), price_class)
    return sorted(map(int, sample.chosen()))


@given(st.integers(1, 60), st.lists(st.sampled_from("abcde"), max_size=500))
def test_the_pilot_has_its_size_and_every_class(size: int, classes: list[str]) -> None:
    places = chosen(size, classes)
    assert len(set(places)) == len(places) == min(size, len(classes))
    there = {classes[place] for place in places}
    assert len(there) == min(size, len(set(classes)))
    # A class with more jobs never has fewer in the pilot.
    of_pilot, of_all = Counter(classes[place] for place in places), Counter(classes)
    for one in there:
        for other in there:
            assert of_pilot[one] >= of_pilot[other] - 1 or of_all[one] < of_all[other] or of_pilot[one] == of_all[one]


@given(st.integers(2, 50), st.integers(1, 20_000))
def test_the_pilot_is_spread_over_the_whole_upload(size: int, count: int) -> None:
    places = chosen(size, ["a"] * count)
    step = count / len(places)
    gaps = [after - before for before, after in zip([0, *places], [*places, count - 1], strict=True)]
    assert max(gaps) <= 2 * step + 1


def test_a_sample_of_many_classes_is_bounded() -> None:
    sample = Sample(20)
    for place in range(10_000):
        sample.add(str(place), f"class {place}")
    assert len(sample.chosen()) == 20
    assert len(sample._classes) <= MOST_CLASSES + 1
