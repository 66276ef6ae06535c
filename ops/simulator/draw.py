"""The pictures: real PNGs in which a person can see which job they belong to."""

import functools
import hashlib
import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from PIL import Image, ImageDraw, ImageFont, ImageOps

LONG_SIDE = {"1k": 1024, "2k": 2048}
#: a reference with more pixels is shown as a frame: decoding it could take gigabytes
MOST_PIXELS = 40_000_000
#: Letters of this height, in pixels, can just be read.
LEAST_LEGIBLE = 10

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_INK, _PAPER = (24, 24, 28), (250, 249, 245)


@dataclass(frozen=True, slots=True)
class Picture:
    """What is to be drawn. `references` are URLs, or digests of images kept elsewhere."""

    prompt: str
    width: int
    height: int
    watermark: bool
    references: tuple[str | bytes, ...]


def size_of(aspect_ratio: str, resolution: str, reference: tuple[int, int] | None) -> tuple[int, int]:
    """Pixels (width, height): the long side by resolution; `auto` follows the reference's size, else it is square."""
    if aspect_ratio == "auto":
        width, height = reference or (1, 1)
    else:
        width, height = (int(part) for part in aspect_ratio.split(":"))
    long = LONG_SIDE[resolution]
    if width >= height:
        return long, round(long * height / width)
    return round(long * width / height), long


def render(picture: Picture, references: Sequence[bytes | str | None], label: str) -> bytes:
    """The PNG, the same for the same arguments. A reference: its content, a URL to name, or None if no longer kept."""
    canvas = _background(picture.width, picture.height, label)
    unit = min(picture.width, picture.height) / 24
    margin = round(unit * 1.2)
    strip = _strip(canvas, references, margin) if references else 0
    box = (margin, margin + strip, picture.width - margin, picture.height - margin - round(unit * 2.8))
    _write(canvas, _spelled(picture.prompt) or "(no prompt)", box)
    draw = ImageDraw.Draw(canvas)
    foot, said = (margin, picture.height - margin), _spelled(label)
    size = max(12, round(unit * 0.75))
    # As small as it takes to end within the picture; below that nobody could read it.
    size = max(8, min(size, int(size * (picture.width - 2 * margin) / ImageFont.load_default(size).getlength(said))))
    small = ImageFont.load_default(size)
    draw.text(foot, said, font=small, fill=_PAPER, anchor="lb", stroke_width=2, stroke_fill=_INK)
    if picture.watermark:
        _watermark(canvas, unit)
    out = io.BytesIO()
    canvas.save(out, "PNG", compress_level=1)
    return out.getvalue()


def _background(width: int, height: int, label: str) -> Image.Image:
    digest = hashlib.blake2b(label.encode(), digest_size=8).digest()
    hue = digest[0]
    dark, light = (_rgb(hue, 190, 110), _rgb(hue + 30 + digest[1] % 60, 150, 215))
    ramp = Image.linear_gradient("L").rotate(45 * (digest[2] % 8), resample=Image.Resampling.BILINEAR, expand=False)
    ramp = ImageOps.autocontrast(ramp.crop((38, 38, 218, 218))).resize((width, height), Image.Resampling.BICUBIC)
    return ImageOps.colorize(ramp, dark, light)


def _rgb(hue: int, saturation: int, value: int) -> tuple[int, int, int]:
    red, green, blue = Image.new("HSV", (1, 1), (hue % 256, saturation, value)).convert("RGB").tobytes()
    return red, green, blue


def _strip(canvas: Image.Image, references: Sequence[bytes | str | None], margin: int) -> int:
    """The references side by side along the top; the height they take."""
    gap = margin // 2
    room = (canvas.width - 2 * margin - gap * (len(references) - 1)) // len(references)
    side = max(16, min(room, canvas.height // 3))
    for index, reference in enumerate(references):
        tile = _tile(reference, side)
        left = margin + index * (side + gap) + (side - tile.width) // 2
        top = margin + (side - tile.height) // 2
        canvas.paste(ImageOps.expand(tile, 2, _PAPER), (left - 2, top - 2))
    return side + margin


def _tile(reference: bytes | str | None, side: int) -> Image.Image:
    if isinstance(reference, bytes):
        try:
            return _thumbnail(reference, side)
        except Exception:  # noqa: BLE001 - Pillow raises what it likes on a broken image, and its frame is drawn all the same
            reference = "(unreadable)"
    tile = Image.new("RGB", (side, side), (70, 72, 80))
    name = "(not kept)" if reference is None else PurePosixPath(urlsplit(reference).path).name or reference
    _write(tile, name, (4, 4, side - 4, side - 4), paper=False)
    return tile


def _thumbnail(content: bytes, side: int) -> Image.Image:
    with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError("too many pixels")
        image.draft("RGB", (side, side))
        upright = ImageOps.exif_transpose(image).convert("RGB")
    upright.thumbnail((side, side))
    return upright


def _write(canvas: Image.Image, text: str, box: tuple[int, int, int, int], *, paper: bool = True) -> None:
    """Text as large as the box allows, wrapped, on a panel of paper so that it is legible whatever lies beneath."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    if width < 8 or height < 8:  # noqa: PLR2004 - no room for a letter
        return
    draw = ImageDraw.Draw(canvas)
    size = max(LEAST_LEGIBLE, height // 5)
    while True:
        font: _Font = ImageFont.load_default(size)
        spacing = size // 4
        padding = size // 2 if paper else 0
        columns = _columns(font, width - 2 * padding)
        wrapped = "\n".join("\n".join(textwrap.wrap(line, columns)) for line in text.splitlines())
        x, y, x1, y1 = draw.multiline_textbbox((0, 0), wrapped, font=font, spacing=spacing)
        w, h = x1 - x, y1 - y
        whole = max(map(len, text.split()), default=0) <= columns  # no word is broken
        if (whole and h + 2 * padding <= height and w + 2 * padding <= width) or size <= LEAST_LEGIBLE:
            break
        size = max(LEAST_LEGIBLE, round(size * 0.88))
    if paper:
        panel = (left, top, min(right, round(left + w + 2 * padding)), min(bottom, round(top + h + 2 * padding)))
        draw.rounded_rectangle(panel, radius=padding // 2, fill=_PAPER)
    draw.multiline_text(
        (left + padding - x, top + padding - y), wrapped, font=font, spacing=spacing, fill=_INK if paper else _PAPER
    )


def _columns(font: _Font, width: int) -> int:
    average = font.getlength("abcdefghijklmnopqrstuvwxyz ") / 27
    return max(4, int(width / average))


def _watermark(canvas: Image.Image, unit: float) -> None:
    font = ImageFont.load_default(max(14, round(unit)))
    draw = ImageDraw.Draw(canvas, "RGBA")
    # One line above the label, which may need the whole width.
    corner = (canvas.width - round(unit * 1.2), canvas.height - round(unit * 2.4))
    ink, edge = (255, 255, 255, 190), (0, 0, 0, 120)
    draw.text(corner, "BOOMERANG SIMULATOR", font=font, fill=ink, anchor="rb", stroke_width=1, stroke_fill=edge)


def _spelled(text: str) -> str:
    """The text with each letter that the font lacks spelled out by its number, so that no two prompts look the same."""
    return "".join(
        char if char.isascii() or _has_glyph(char) else char.encode("unicode_escape").decode() for char in text
    )


@functools.lru_cache(maxsize=4096)
def _has_glyph(char: str) -> bool:
    font = ImageFont.load_default(24)
    return char.isspace() or bytes(font.getmask(char)) != bytes(font.getmask("\U0010fffd"))
