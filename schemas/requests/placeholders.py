"""References to images in a prompt: `<<<image_N>>>`, and texts that were meant to be one.

The provider takes any other form for a part of the description, and the image that it means has no effect. The job is
paid for all the same, so a near-miss is refused. Only "image" (also "images", "img" and the Chinese words) in angle
brackets, or in two or more square or curly ones, is a near-miss: other text in brackets is the producer's own.
"""

import html
import re
from collections.abc import Iterator
from functools import lru_cache
from unicodedata import normalize

from schemas.invisible import is_invisible

PLACEHOLDER = re.compile(r"<<<image_([0-9]+)>>>")

#: Brackets that keyboards, and programs that "correct" text, put in the place of < and >. NFKC converts more of them.
_BRACKETS = {
    **dict.fromkeys("〈⟨‹❮❰〈", "<"), **dict.fromkeys("《⟪«≪", "<<"), "⋘": "<<<",
    **dict.fromkeys("〉⟩›❯❱〉", ">"), **dict.fromkeys("》⟫»≫", ">>"), "⋙": ">>>",
    # Markdown's escape character.
    "\\": "",
}  # fmt: skip
#: A prompt without any of these has no near-miss. The last one begins the HTML entities of < and >.
_HINTS = frozenset("<>＜＞﹤﹥[［{｛&").union(_BRACKETS)
_TOKEN = re.compile(r"&(?:[lg]t|#6[02]);|.", re.DOTALL)

_IMAGE = r"(?:images?|img|图片?|图像|圖片?|圖像)"
# Bounded, so that no prompt takes quadratic time.
_BETWEEN = r"[\s_.:#-]{0,20}"
_NUMBERED = rf"{_IMAGE}{_BETWEEN}(\d{{1,20}})"
_NEAR_MISSES = [
    re.compile(rf"(?<!<)<+\s{{0,20}}{_NUMBERED}\s{{0,20}}>+"),
    re.compile(rf"(?<!<)<<+\s{{0,20}}{_NUMBERED}"),
    re.compile(rf"{_NUMBERED}\s{{0,20}}>>+"),
    re.compile(rf"(?<!<)<<+\s{{0,20}}{_IMAGE}{_BETWEEN}n?\s{{0,20}}>>+"),
    re.compile(rf"(?<!\[)\[\[+\s{{0,20}}{_NUMBERED}\s{{0,20}}\]\]+"),
    re.compile(rf"(?<!\{{)\{{\{{+\s{{0,20}}{_NUMBERED}\s{{0,20}}\}}\}}+"),
]


def near_misses(prompt: str) -> Iterator[tuple[str, str]]:
    """Yield texts that only resemble a reference, as they are in the prompt, and the right form of each."""
    if _HINTS.isdisjoint(prompt):
        return
    # Right references stay out of it; a mask of the same length keeps the positions.
    text, origins = _simplified(PLACEHOLDER.sub(lambda found: "|" * len(found[0]), prompt))
    seen: list[tuple[int, int]] = []
    for pattern in _NEAR_MISSES:
        for found in pattern.finditer(text):
            if any(found.start() < end and start < found.end() for start, end in seen):
                continue
            seen.append(found.span())
            number = found[1] if pattern.groups else "1"
            yield prompt[origins[found.start()] : origins[found.end()]], f"<<<image_{int(number)}>>>"


def _simplified(text: str) -> tuple[str, list[int]]:
    """Return the text in plain characters, and for each of them, and the end, its position in `text`."""
    plain: list[str] = []
    origins: list[int] = []
    for token in _TOKEN.finditer(text):
        for char in _plain(token[0]):
            plain.append(char)
            origins.append(token.start())
    return "".join(plain), [*origins, len(text)]


@lru_cache(maxsize=4096)
def _plain(token: str) -> str:
    """Return a character, or an HTML entity, without its width, case and style; nothing if it is invisible."""
    if token in _BRACKETS:
        return _BRACKETS[token]
    return "" if is_invisible(token[0]) else normalize("NFKC", html.unescape(token)).casefold()
