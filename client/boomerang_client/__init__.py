"""Enqueue generation jobs at a Boomerang service over HTTP, and get their results.

Start with `Client`, in asyncio with `AsyncClient`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from boomerang_client.audit_records import AuditEntry as AuditEntry
from boomerang_client.bulk_records import BulkAction as BulkAction
from boomerang_client.choices import Other as Other
from boomerang_client.client import Client as Client
from boomerang_client.delivery_records import Delivery as Delivery
from boomerang_client.delivery_records import DeliveryAttempt as DeliveryAttempt
from boomerang_client.delivery_records import Receiver as Receiver
from boomerang_client.errors import ApiError as ApiError
from boomerang_client.errors import BoomerangError as BoomerangError
from boomerang_client.errors import Conflict as Conflict
from boomerang_client.errors import Invalid as Invalid
from boomerang_client.errors import LineError as LineError
from boomerang_client.errors import NoOutput as NoOutput
from boomerang_client.errors import NotFound as NotFound
from boomerang_client.errors import NotSaved as NotSaved
from boomerang_client.errors import ServerFault as ServerFault
from boomerang_client.errors import ServiceUnavailable as ServiceUnavailable
from boomerang_client.errors import StillRunning as StillRunning
from boomerang_client.errors import TooBusy as TooBusy
from boomerang_client.errors import Unauthorized as Unauthorized
from boomerang_client.errors import UnexpectedAnswer as UnexpectedAnswer
from boomerang_client.errors import UsageError as UsageError
from boomerang_client.ids import new_id as new_id
from boomerang_client.local_images import ImagesRefused as ImagesRefused
from boomerang_client.outputs import Output as Output
from boomerang_client.outputs import Saving as Saving
from boomerang_client.quotes import CostEstimate as CostEstimate
from boomerang_client.quotes import LineProblem as LineProblem
from boomerang_client.quotes import Quote as Quote
from boomerang_client.quotes import QuotedKind as QuotedKind
from boomerang_client.record_fields import JobError as JobError
from boomerang_client.record_fields import JobEvent as JobEvent
from boomerang_client.record_fields import Pilot as Pilot
from boomerang_client.record_fields import Review as Review
from boomerang_client.record_fields import Revision as Revision
from boomerang_client.record_fields import Status as Status
from boomerang_client.records import Batch as Batch
from boomerang_client.records import Job as Job
from boomerang_client.responses import BatchAccepted as BatchAccepted
from boomerang_client.responses import BatchChanged as BatchChanged
from boomerang_client.responses import Lane as Lane
from boomerang_client.responses import Note as Note
from boomerang_client.responses import Overview as Overview
from boomerang_client.responses import Saved as Saved
from boomerang_client.responses import Spend as Spend
from boomerang_client.responses import SpendRow as SpendRow
from boomerang_client.responses import Trouble as Trouble

if TYPE_CHECKING:
    from boomerang_client.asynchronous import AsyncBatch as AsyncBatch
    from boomerang_client.asynchronous import AsyncClient as AsyncClient
    from boomerang_client.asynchronous import AsyncJob as AsyncJob

#: The earlier name of ImagesRefused.
PicturesRefused = ImagesRefused

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Loaded when it is asked for, because it needs aiohttp, which other callers do not have.
    if name in {"AsyncBatch", "AsyncClient", "AsyncJob"}:
        return getattr(import_module("boomerang_client.asynchronous"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
