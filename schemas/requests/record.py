"""A generation request once it has been found valid."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


class CallbackForm(StrEnum):
    """What is posted to a producer's `callback_url`."""

    #: The job as our own API shows it.
    JOB = "job"
    #: The task as the provider's status endpoint shows it, for a producer who came through the provider's door.
    TASK = "task"


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One valid request.

    `params`: the documented parameters as the producer gave them, defaults not filled in, without `model`,
    `external_task_id`, `callback_url`, `labels`, `priority` and `expires_in` (seconds), which stand beside.
    `callback_url` is where *we* notify the producer, `callback_form` as what. `n`: images asked for, which is the
    number of slots that the task holds at the provider.
    """

    model: str
    params: Mapping[str, Any]
    external_task_id: str | None = None
    callback_url: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: str | None = None
    expires_in: int | None = None
    n: int = 1
    callback_form: CallbackForm = CallbackForm.JOB

    @property
    def resolution(self) -> str:
        """What is asked for, which decides about the price; '' where the model has none or its default is meant."""
        return str(self.params.get("resolution", ""))

    def text(self) -> str:
        """Canonical JSON (sorted keys, compact) of everything but `external_task_id`.

        Two requests are the same request exactly when their texts are equal; it is also what the job's record keeps.
        """
        body: dict[str, Any] = {"model": self.model, "params": self.params}
        if self.callback_url is not None:
            body["callback_url"] = self.callback_url
            if self.callback_form is not CallbackForm.JOB:
                body["callback_form"] = self.callback_form
        for name in ("labels", "priority", "expires_in"):
            if value := getattr(self, name):
                body[name] = value
        return _canonical(body)

    @classmethod
    def from_text(cls, text: str, external_task_id: str | None = None) -> Self:
        """The inverse of `text()`. Trusts it: nothing is validated again."""
        body = json.loads(text)
        params = body["params"]
        return cls(
            model=body["model"],
            params=params,
            external_task_id=external_task_id,
            callback_url=body.get("callback_url"),
            labels=body.get("labels", {}),
            priority=body.get("priority"),
            expires_in=body.get("expires_in"),
            n=params.get("n", 1),
            callback_form=CallbackForm(body.get("callback_form", CallbackForm.JOB)),
        )
