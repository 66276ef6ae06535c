"""The simulator's settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ops.simulator.fault_options import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of the start. `faults` holds the fault options that differ from their default."""

    #: Accepted bearer keys. Empty: any key is accepted, but a request without one is not.
    keys: frozenset[str] = field(default=frozenset(), repr=False)
    #: The same seed and external ids lead to the same decisions, whatever the timing.
    seed: str = "0"
    faults: Mapping[str, Value] = field(default_factory=dict)
    #: Base URL of result images, if it is not the one that submissions are sent to.
    public_url: str | None = None
    #: Purchases are appended to this file as JSON lines, to be read after this process has ended.
    ledger_file: Path | None = None
    #: Results are deleted this many seconds after the task ended; 0: never.
    keep: float = 0
    #: Name of the member that holds the image in an item of `image_list` (the pages do not show it).
    image_key: str = "image"
    #: Whether answers and gateway callbacks contain the external id (the published examples do not).
    echo_external_id: bool = False
    #: Result images are small and show nothing, which costs less CPU.
    plain_images: bool = False
    #: Most callbacks sent at the same time. Others wait.
    callback_connections: int = 64
    #: Seconds to wait before each repeat of a callback that got no answer, 429 or 5xx.
    callback_retries: tuple[float, ...] = (0.5, 1, 2, 4)
    #: Seconds for one callback, from the connection to the end of the answer.
    callback_timeout: float = 10
