"""Charts as SVG: the geometry, which templates/charts.html draws. Each chart has a table beside it with its numbers."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

#: The size of the drawing area, in units of the SVG's view box.
WIDTH, HEIGHT = 360.0, 90.0
_GAP = 0.15
#: Smaller numbers are drawn as 0.
_LEAST = 1e-9
#: Round lengths of time from a second on, in seconds.
_ROUND_TIMES = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400, 28_800, 43_200, 86_400)


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a column: its place, the class that colours it, and what it stands for."""

    x: float
    y: float
    width: float
    height: float
    css: str
    title: str


@dataclass(frozen=True, slots=True)
class Columns:
    """Stacked columns. `top`: the number at the upper edge."""

    bars: tuple[Bar, ...]
    top: float


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines by class, each as the points of one or more polylines: a missing value interrupts it."""

    paths: Mapping[str, tuple[str, ...]]
    top: float


def columns(rows: Sequence[tuple[str, Mapping[str, float]]]) -> Columns:
    """Draw a column for each row: its title, and its numbers by class, from the bottom up."""
    top = rounded_up(max((sum(parts.values()) for _, parts in rows), default=0.0))
    step = WIDTH / max(1, len(rows))
    return Columns(tuple(_bars(rows, step, top)), top)


def lines(series: Mapping[str, Sequence[float | None]]) -> Lines:
    """Draw a line for each series of equally spaced values, in seconds."""
    known = [value for values in series.values() for value in values if value is not None]
    top = time_rounded_up(max(known, default=0.0))
    return Lines({css: tuple(_paths(values, top)) for css, values in series.items()}, top)


def rounded_up(value: float) -> float:
    """Return the next number of 1, 2 or 5 times a power of ten; 1 for 0 and for what is hardly more."""
    if value < _LEAST:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9))


def time_rounded_up(seconds: float) -> float:
    """Return the next round length of time: a number of seconds, minutes, hours, or whole days."""
    if seconds < 1:
        return rounded_up(seconds)
    day = _ROUND_TIMES[-1]
    return float(next((each for each in _ROUND_TIMES if each >= seconds), math.ceil(seconds / day) * day))


def _bars(rows: Sequence[tuple[str, Mapping[str, float]]], step: float, top: float) -> Iterator[Bar]:
    for number, (title, parts) in enumerate(rows):
        y = HEIGHT
        for css, value in parts.items():
            height = HEIGHT * value / top
            y -= height
            if value:
                yield Bar(number * step + step * _GAP / 2, y, step * (1 - _GAP), height, css, title)


def _paths(values: Sequence[float | None], top: float) -> Iterator[str]:
    step, points = WIDTH / max(1, len(values)), list[str]()
    for number, value in enumerate((*values, None)):
        if value is not None:
            points.append(f"{step * (number + 0.5):.1f},{HEIGHT * (1 - value / top):.1f}")
        elif points:
            # A single value has no line: it is drawn as a short one.
            if len(points) == 1:
                x, y = points[0].split(",")
                points = [f"{float(x) - step / 3:.1f},{y}", f"{float(x) + step / 3:.1f},{y}"]
            yield " ".join(points)
            points = []
