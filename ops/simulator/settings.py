"""What a simulator is started with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ops.simulator.fault_options import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Start-up settings; `faults` holds the knobs that differ from their value at rest."""

    #: accepted bearer keys; empty: any key will do, but there must be one
    keys: frozenset[str] = field(default=frozenset(), repr=False)
    #: the same seed and the same external ids bring the same decisions, whatever the timing
    seed: str = "0"
    faults: Mapping[str, Value] = field(default_factory=dict)
    #: where callers reach the pictures, when that is not the address by which they reach this process
    public_url: str | None = None
    #: purchases are appended here as JSON lines, for whoever wants them after this process is gone
    ledger_file: Path | None = None
    #: results are deleted this many seconds after their end; 0: never
    keep: float = 0
    #: name of the member that holds an image in `image_list` (the seed does not show it)
    image_key: str = "image"
    #: whether answers and gateway callbacks carry the external id (the published ones do not)
    echo_external_id: bool = False
    #: callbacks under way at once; the others queue
    callback_connections: int = 64
    #: seconds after which a callback that got no 2xx is sent again
    callback_retries: tuple[float, ...] = (0.5, 1, 2, 4)
    #: seconds for one callback, from connect to the end of its answer
    callback_timeout: float = 10
