"""A job: runs of one protocol that train together, as plain data that another process or machine can carry out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from clipbench.errors import UserError
from clipbench.registry import Protocol, Run
from clipbench.results.record import Origin

KEEPS = ("features", "adapters")
"""What a run can keep beside its record: test features before and after training; what was trained."""


@dataclass(frozen=True)
class Job:
    """Runs of ``protocol`` with ``seeds``.

    Attributes:
        protocol: What all runs share.
        seeds: One run each.
        origin: The cell that asked for it first.
        label: How it is called in messages: ``lora-clip/table1 lora-r8 aid-20``.
        keep: What stays beside the records, of :data:`KEEPS`.
    """

    protocol: Protocol
    seeds: Sequence[int]
    origin: Origin
    label: str
    keep: Sequence[str] = ()

    @property
    def runs(self) -> list[Run]:
        """The runs, in the order of the seeds."""
        return [Run(self.protocol, seed) for seed in self.seeds]

    @property
    def name(self) -> str:
        """The label with the seeds: ``... seeds 1-5``."""
        seeds = list(self.seeds)
        row = len(seeds) > 1 and seeds == list(range(seeds[0], seeds[0] + len(seeds)))
        shown = f"{seeds[0]}-{seeds[-1]}" if row else ",".join(map(str, seeds))
        return f"{self.label} seed{'s' * (len(seeds) > 1)} {shown}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "protocol": self.protocol.as_dict(),
            "seeds": list(self.seeds),
            "origin": asdict(self.origin),
            "label": self.label,
            "keep": list(self.keep),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Job:
        """Read back. Raises ``UserError`` for what is no job."""
        try:
            origin = Origin(**values["origin"])
            seeds = tuple(int(seed) for seed in values["seeds"])
            protocol = Protocol.of(values["protocol"])
            return cls(protocol, seeds, origin, str(values["label"]), tuple(values["keep"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"this is no job of clipbench ({type(error).__name__}: {error}).") from None
