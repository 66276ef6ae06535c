"""Floats that keep their text."""


class ExactFloat(float):
    """A float that keeps the text that it was read from: a price may have more digits than a float."""

    __slots__ = ("text",)
    text: str


def exact_float(text: str) -> ExactFloat:
    """Read a float. Raises `ValueError`."""
    number = ExactFloat(text)
    number.text = text
    return number
