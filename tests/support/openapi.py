"""Compare requests with an OpenAPI document."""

import re
from typing import Any
from urllib.parse import parse_qs


class Contract:
    """The operations of a document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._operations = [
            (verb.upper(), re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))), operation)
            for path, verbs in document["paths"].items()
            for verb, operation in verbs.items()
            if verb in ("get", "post")
        ]

    def problem(self, method: str, path: str, raw_query: str) -> str | None:
        """Return which part of a request the document does not allow, or None."""
        verb = "GET" if method == "HEAD" else method
        found = next((each for kind, form, each in self._operations if kind == verb and form.fullmatch(path)), None)
        if found is None:
            return f"{method} {path}"
        known = {each["name"] for each in found.get("parameters", []) if each["in"] == "query"}
        unknown = sorted(set(parse_qs(raw_query, keep_blank_values=True)) - known)
        return f"{method} {path}?{'&'.join(unknown)}" if unknown else None
