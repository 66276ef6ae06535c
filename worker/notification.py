"""Notifications: POST an ended job to the producer's callback_url.

The producer chose the URL, so the request is sent by `worker.http.outgoing`.
"""

import json
from datetime import UTC, datetime
from http import HTTPStatus

from jobs.job import Job
from jobs.links import Links
from jobs.serializers.jobs import serialize_job
from jobs.serializers.tasks import serialize_task
from schemas import CallbackForm
from schemas.signatures import signed
from worker.errors import NotifyFailed
from worker.http.outgoing import Outgoing
from worker.settings import Settings


class Notifier:
    """Posts a job as JSON, in this API's form or in the provider's.

    Repeats have the same `webhook-id`. With BOOMERANG_NOTIFY_SECRETS the request is signed by Standard Webhooks.
    """

    def __init__(self, settings: Settings) -> None:
        self._secrets = settings.notify_secrets
        self._links = Links.of(settings)
        self._outgoing = Outgoing(private_hosts=settings.allow_private_hosts)

    @staticmethod
    def message_id(job: Job) -> str:
        """Return the `webhook-id`: the same for each repeat of the same end."""
        return f"{job.given_external_id}.{job.state}"

    def __call__(self, job: Job, url: str, form: CallbackForm = CallbackForm.JOB) -> int:
        """Send a notification and return the status, a 2xx. Raises NotifyFailed for any other answer, or for none."""
        view = serialize_task(job, self._links) if form is CallbackForm.TASK else serialize_job(job, self._links)
        body = json.dumps(view, ensure_ascii=False)
        return self.post(url, self.message_id(job), body)

    def post(self, url: str, message_id: str, body: str) -> int:
        """Post a body under a `webhook-id` and return the status, a 2xx. Raises NotifyFailed."""
        headers = {"Content-Type": "application/json", "webhook-id": message_id}
        if self._secrets:
            headers |= signed(message_id, datetime.now(UTC), body, self._secrets)
        status = self._outgoing.post(url, body.encode(), headers)
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise NotifyFailed(f"the callback_url answered {status}", status)
        return status
