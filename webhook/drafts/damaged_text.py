"""Find text that a program has damaged before it came here. To generate images from it would waste money."""

import re

#: What spreadsheet programs show for a formula that fails. Also in CSV that they save.
_ERRORS = frozenset(
    {"#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#CALC!", "#GETTING_DATA"}
)
#: Begins what becomes of UTF-8 that is read as cp1252: "Ã©" for é, "Â°" for °, "â€œ" for a quotation mark.
_TRACES = ("Ã", "Â", "â€", "ð\u0178", "Ð", "Ñ", "Å", "Ä")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def damage_of(text: str | None) -> str:
    """Return what is wrong with a text, as the rest of a sentence, or "". None: a formula without a saved value."""
    if text is None:
        return "has a formula without a saved value. Open the file in a spreadsheet program, and save it."
    if text.startswith("#") and text.strip() in _ERRORS:
        return f"has the error {text.strip()} instead of a value. Correct the formula."
    if _CONTROLS.search(text):
        return "has control characters. Is it text? Remove them."
    return "" if text.isascii() else _lost_letters(text)


def _lost_letters(text: str) -> str:
    if _REPLACEMENT in text:
        place = text.index(_REPLACEMENT)
        return f'has lost letters ("{text[max(0, place - 20) : place + 20]}"). Export the file again, as UTF-8.'
    meant = _meant(text)
    if meant:
        return f'has "{text[:60]}" where "{meant[:60]}" is meant. Export the file again, as UTF-8.'
    return ""


def _meant(text: str) -> str:
    """Return the text that was UTF-8 and was read as cp1252, or ""."""
    if not any(trace in text for trace in _TRACES):
        return ""
    try:
        return text.encode("cp1252").decode()
    except UnicodeError:
        return ""
