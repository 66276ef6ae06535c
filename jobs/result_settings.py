"""The settings of saved results, which all processes share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from marshmallow import fields as ma
from marshmallow import validate

from jobs.connections.settings import ConnectionSettings
from jobs.lanes import LaneSettings
from jobs.setting import setting
from jobs.setting_readers import result_store

A_DAY = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class ResultSettings(ConnectionSettings):
    """Where results are saved, and for how long the provider is assumed to keep them. Times in seconds."""

    result_store: str | None = setting(
        "BOOMERANG_RESULT_STORE",
        ma.String,
        None,
        "Where the results of jobs are saved before the provider deletes them: a folder or bucket as a URL of "
        "[fsspec](https://filesystem-spec.readthedocs.io/), such as `file:///srv/results` or `s3://bucket/results`. "
        "Set it for all processes. Unset: results stay at the provider. `boomerang-server up` and `make demo` use "
        "`results` in their folder.",
        secret=True,
        validate=result_store,
    )
    result_expiry: float = setting(
        "BOOMERANG_RESULT_EXPIRY",
        ma.Float,
        A_DAY,
        "For how long the provider is assumed to keep a result, at least 60; set what your provider documents. Until "
        "then a failed save is repeated, then the job is [on the list of unsaved "
        "results](guides/troubleshoot.md#what-is-stuck). `result_expiry` of [a lane](#lanes) overrides it. Providers "
        "of this market name ten minutes to thirty days.",
        validate=validate.Range(min=60),
    )
    complete_when_saved: bool = setting(
        "BOOMERANG_COMPLETE_WHEN_SAVED",
        ma.Boolean,
        default=False,
        meaning="`on`: the Celery message and the notification of a completed job wait until its results are saved, or "
        "can no longer be saved. Needs `BOOMERANG_RESULT_STORE`.",
    )

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """Yield problems of settings that are valid by themselves but not together. `given` lacks invalid ones."""
        if given.get("complete_when_saved") and given.get("result_store", "") is None:
            yield "complete_when_saved", "needs BOOMERANG_RESULT_STORE"

    @property
    def saves(self) -> str:
        """What the scripts do about results: '' nothing, `1` save them, `2` save them before anything is delivered."""
        if self.result_store is None:
            return ""
        return "2" if self.complete_when_saved else "1"

    def expiry_of(self, lane: str, lanes: Sequence[LaneSettings]) -> float:
        """Return for how long the provider of a lane is assumed to keep a result."""
        own = next((each.result_expiry for each in lanes if each.name == lane), None)
        return self.result_expiry if own is None else own
