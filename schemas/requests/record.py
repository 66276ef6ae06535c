"""A valid generation request."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from schemas.requests.base import has_parameter

_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


class CallbackForm(StrEnum):
    """The form of a notification to a producer's `callback_url`."""

    #: The job as the HTTP API returns it.
    JOB = "job"
    #: The task as the provider's status endpoint returns it, for producers that use the provider-compatible API.
    TASK = "task"


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A valid generation request.

    `params`: the documented parameters as the producer sent them, without defaults, and without those that are fields
    here. `callback_url`: where the service notifies the producer, in the form `callback_form`. `expires_in` in seconds.
    `n`: the number of images, and of slots that the task uses.
    """

    model: str
    params: Mapping[str, Any]
    external_task_id: str | None = None
    callback_url: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    priority: str | None = None
    expires_in: int | None = None
    n: int = 1
    callback_form: CallbackForm = CallbackForm.JOB

    @property
    def resolution(self) -> str:
        """The requested resolution, on which the price depends. Empty for the default, or if the model has none."""
        return str(self.params.get("resolution", "")) if has_parameter(self.model, "resolution") else ""

    @property
    def watermarked(self) -> bool:
        """Whether each image is also to be generated with a watermark."""
        info = self.params.get("watermark_info")
        return isinstance(info, Mapping) and bool(info.get("enabled"))

    def text(self) -> str:
        """Return canonical JSON (sorted keys, compact) of everything but `external_task_id`.

        Two requests are the same if and only if their texts are equal. The job's record contains this text.
        """
        body: dict[str, Any] = {"model": self.model, "params": self.params}
        if self.callback_url is not None:
            body["callback_url"] = self.callback_url
            if self.callback_form is not CallbackForm.JOB:
                body["callback_form"] = self.callback_form
        for name in ("labels", "metadata", "priority", "expires_in"):
            if value := getattr(self, name):
                body[name] = value
        return _canonical(body)

    @classmethod
    def from_text(cls, text: str, external_task_id: str | None = None) -> Self:
        """Parse what `text()` returned. It is not validated again."""
        body = json.loads(text)
        params = body["params"]
        return cls(
            model=body["model"],
            params=params,
            external_task_id=external_task_id,
            callback_url=body.get("callback_url"),
            labels=body.get("labels", {}),
            metadata=body.get("metadata", {}),
            priority=body.get("priority"),
            expires_in=body.get("expires_in"),
            n=params.get("n", 1),
            callback_form=CallbackForm(body.get("callback_form", CallbackForm.JOB)),
        )
