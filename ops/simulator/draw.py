"""Result images: real PNGs that show which job they belong to."""

import functools
import hashlib
import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from PIL import Image, ImageDraw, ImageFont, ImageOps

from ops.simulator.images import without_metadata

LONG_SIDE = {"1k": 1024, "2k": 2048}
#: A reference with more pixels is drawn as an empty frame, because decoding it could take gigabytes.
MOST_PIXELS = 40_000_000
#: Pixels of each side of a plain image.
PLAIN_SIDE = 64
#: The smallest legible letter height in pixels.
LEAST_LEGIBLE = 10

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_INK, _PAPER = (24, 24, 28), (250, 249, 245)


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """What an image shows. `references` are URLs, or digests in ReferenceImages."""

    prompt: str
    width: int
    height: int
    watermark: bool
    references: tuple[str | bytes, ...]


def size_of(aspect_ratio: str, resolution: str, reference: tuple[int, int] | None) -> tuple[int, int]:
    """Return (width, height) in pixels. `auto` follows the reference's aspect ratio; without one it is square."""
    if aspect_ratio == "auto":
        width, height = reference or (1, 1)
    else:
        width, height = (int(part) for part in aspect_ratio.split(":"))
    long = LONG_SIDE[resolution]
    if width >= height:
        return long, round(long * height / width)
    return round(long * width / height), long


def render_plain(label: str) -> bytes:
    """Return a small PNG without text, the same for the same label. It takes a thirtieth of the CPU of `render`."""
    out = io.BytesIO()
    _background(PLAIN_SIDE, PLAIN_SIDE, label).save(out, "PNG", compress_level=1)
    return out.getvalue()


def render(spec: ImageSpec, references: Sequence[bytes | str | None], label: str) -> bytes:
    """Draw the PNG, the same for the same arguments.

    Each reference is its content, a URL whose file name is shown, or None if its content was forgotten.
    """
    canvas = _background(spec.width, spec.height, label)
    unit = min(spec.width, spec.height) / 24
    margin = round(unit * 1.2)
    strip = _strip(canvas, references, margin) if references else 0
    box = (margin, margin + strip, spec.width - margin, spec.height - margin - round(unit * 2.8))
    _write(canvas, _escaped(spec.prompt) or "(no prompt)", box)
    draw = ImageDraw.Draw(canvas)
    corner, text = (margin, spec.height - margin), _escaped(label)
    size = max(12, round(unit * 0.75))
    # Small enough to fit into the image, but not below the legible minimum.
    size = max(8, min(size, int(size * (spec.width - 2 * margin) / ImageFont.load_default(size).getlength(text))))
    small = ImageFont.load_default(size)
    draw.text(corner, text, font=small, fill=_PAPER, anchor="lb", stroke_width=2, stroke_fill=_INK)
    if spec.watermark:
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
    """Draw the references side by side along the top and return the height that they take."""
    gap = margin // 2
    available = (canvas.width - 2 * margin - gap * (len(references) - 1)) // len(references)
    side = max(16, min(available, canvas.height // 3))
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
        except Exception:  # noqa: BLE001 - Pillow raises many kinds of error on a broken image
            reference = "(unreadable)"
    tile = Image.new("RGB", (side, side), (70, 72, 80))
    name = "(not kept)" if reference is None else PurePosixPath(urlsplit(reference).path).name or reference
    _write(tile, name, (4, 4, side - 4, side - 4), paper=False)
    return tile


def _thumbnail(content: bytes, side: int) -> Image.Image:
    with Image.open(io.BytesIO(without_metadata(content)), formats=("PNG", "JPEG")) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError("too many pixels")
        image.draft("RGB", (side, side))
        upright = ImageOps.exif_transpose(image).convert("RGB")
    upright.thumbnail((side, side))
    return upright


def _write(canvas: Image.Image, text: str, box: tuple[int, int, int, int], *, paper: bool = True) -> None:
    """Write wrapped text as large as the box allows, by default on a light panel so that it is legible."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    if width < 8 or height < 8:  # noqa: PLR2004 - too small for a letter
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
        unbroken = max(map(len, text.split()), default=0) <= columns
        if (unbroken and h + 2 * padding <= height and w + 2 * padding <= width) or size <= LEAST_LEGIBLE:
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
    # One line above the label, which may take the whole width.
    corner = (canvas.width - round(unit * 1.2), canvas.height - round(unit * 2.4))
    ink, edge = (255, 255, 255, 190), (0, 0, 0, 120)
    draw.text(corner, "BOOMERANG SIMULATOR", font=font, fill=ink, anchor="rb", stroke_width=1, stroke_fill=edge)


def _escaped(text: str) -> str:
    """Replace each letter that the font lacks by its escape, so that different prompts look different."""
    return "".join(
        char if char.isascii() or _has_glyph(char) else char.encode("unicode_escape").decode() for char in text
    )


@functools.lru_cache(maxsize=4096)
def _has_glyph(char: str) -> bool:
    font = ImageFont.load_default(24)
    return char.isspace() or bytes(font.getmask(char)) != bytes(font.getmask("\U0010fffd"))
