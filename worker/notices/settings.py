"""BOOMERANG_NOTICES: which notices go where."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.util import find_spec
from typing import Any

from marshmallow import ValidationError
from marshmallow import fields as ma

from jobs.notices import NoticeClass
from jobs.setting import setting
from worker.save_settings import SaveSettings

#: The targets of every class.
ALL = "*"
INSTALL = "pip install '.[notices]'"
_EXAMPLE = '{"batch_done": ["ntfy://ntfy.example/boats"], "*": ["slack://..."]}'


@dataclass(frozen=True, slots=True)
class Target:
    """An address of Apprise. Its URL contains secrets: logs and commands show `label` only."""

    url: str = field(repr=False)

    @property
    def name(self) -> str:
        """The name under which the store remembers what was sent: other addresses have others."""
        return sha256(self.url.encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """The name for people: the kind of the address, and the beginning of its name."""
        return f"{self.url.partition('://')[0].lower()} ({self.name[:6]})"


class NoticesField(ma.Field[Mapping[NoticeClass, tuple[Target, ...]]]):
    """The JSON object of targets by class. No message contains an address.

    Whether Apprise understands a URL is found when it is used: to know that, it loads all its plugins, for seconds.
    """

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Mapping[NoticeClass, tuple[Target, ...]]:
        try:
            given = json.loads(value)
        except ValueError as error:
            problem = f"{error.msg} at character {error.pos}" if isinstance(error, json.JSONDecodeError) else "not JSON"
            raise ValidationError(f"must be a JSON object such as {_EXAMPLE}: {problem}") from None
        if not isinstance(given, dict):
            raise ValidationError(f"must be a JSON object such as {_EXAMPLE}")
        problems, urls = _read(given)
        if any(urls.values()) and find_spec("apprise") is None:
            problems.append(f"needs the extra notices, which is not installed. In a checkout of Boomerang: {INSTALL}")
        if problems:
            raise ValidationError("; ".join(problems))
        everywhere = urls.get(ALL, [])
        return {each: tuple(map(Target, dict.fromkeys([*urls.get(each, []), *everywhere]))) for each in NoticeClass}


def _read(given: Mapping[str, Any]) -> tuple[list[str], dict[str, list[str]]]:
    problems, urls = [], {}
    for name, value in given.items():
        listed = [value] if isinstance(value, str) else value
        if name != ALL and name not in list(NoticeClass):
            problems.append(f"{name!r} is no class of notices; these are: {', '.join(NoticeClass)}, and * for all")
        elif not isinstance(listed, list) or not all(isinstance(each, str) and "://" in each for each in listed):
            problems.append(f"{name}: must be a URL of Apprise, or a list of them")
        else:
            urls[name] = listed
    return problems, urls


@dataclass(frozen=True, kw_only=True)
class NoticeSettings(SaveSettings):
    """Where notices to people go."""

    notices: Mapping[NoticeClass, tuple[Target, ...]] = setting(
        "BOOMERANG_NOTICES",
        NoticesField,
        None,
        "[Notices for people](guides/notices.md), as a JSON object: class → URLs of "
        '[Apprise](https://github.com/caronc/apprise/wiki): `{"batch_done": ["ntfy://ntfy.example/boats"], "*": '
        f'["mailto://…"]}}`. Classes: {", ".join(f"`{each}`" for each in NoticeClass)}; `*`: all. It needs '
        "the extra `notices`. Unset: none.",
        secret=True,
    )

    def __post_init__(self) -> None:
        """Convert an unset value."""
        super().__post_init__()
        object.__setattr__(self, "notices", self.notices or {})
