import io
import random

import pytest

from webhook.http.bodies import lines


class Trickle(io.BytesIO):
    """A body whose reads return random amounts, at most the requested one."""

    def __init__(self, data: bytes, pieces: random.Random) -> None:
        super().__init__(data)
        self.pieces = pieces

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, self.pieces.choice([1, 2, 3, 7, 100])))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"a", [(1, b"a")], id="no end"),
        pytest.param(b"a\n", [(1, b"a")], id="one line"),
        pytest.param(b"\n\na\n\n", [(1, b""), (2, b""), (3, b"a"), (4, b"")], id="blank lines count"),
        pytest.param(b"a\nbcdef\ng", [(1, b"a"), (2, b"bcdef"), (3, b"g")], id="just short enough"),
        pytest.param(b"a\nbcdefg\nh", [(1, b"a"), (2, None), (3, b"h")], id="too long"),
        pytest.param(b"bcdefgbcdefgbcdefg", [(1, None)], id="too long without an end"),
        pytest.param(b"a\r\nb", [(1, b"a\r"), (2, b"b")], id="carriage return"),
    ],
)
def test_lines_are_numbered_in_any_chunking(body: bytes, expected: list[tuple[int, bytes | None]]) -> None:
    for seed in range(20):
        assert list(lines(Trickle(body, random.Random(seed)), limit=5)) == expected


def test_an_overlong_line_is_not_held_in_memory() -> None:
    class Endless:
        left = 2_000

        def read(self, size: int = -1, /) -> bytes:
            self.left -= 1
            return b"x" * size if self.left > 0 else b""

    assert list(lines(Endless(), limit=1000)) == [(1, None)]
