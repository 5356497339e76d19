"""What every table and figure says of itself: profile, device, date and commit of the runs behind it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clipbench.results.record import Record

SMOKE = (
    "SMOKE PROFILE: a tiny model on generated images. It shows that the machinery works and says nothing of the paper."
)
_SMOKE_ON_OWN = SMOKE.replace(" on generated images", "")


@dataclass(frozen=True)
class Provenance:
    """The runs behind a table or figure."""

    profiles: Sequence[str]
    devices: Sequence[str]
    dates: Sequence[str]
    commits: Sequence[str]
    versions: Sequence[str]
    runs: int
    generated: bool = True
    """Whether the smoke profile's images are those that clipbench paints, and not the user's own."""

    @property
    def smoke(self) -> bool:
        """Whether any number comes from the smoke profile."""
        return "smoke" in self.profiles

    def lines(self) -> list[str]:
        """Plain sentences; the warning about smoke numbers first."""
        if not self.runs:
            return ["Nothing is measured yet."]
        made = (
            f"{self.runs} run{'s' * (self.runs != 1)}, profile {_joined(self.profiles)}, on {_joined(self.devices)}, "
            f"finished {_joined(self.dates)}, code at commit {_joined(self.commits)}, {_joined(self.versions)}."
        )
        return [*([SMOKE if self.generated else _SMOKE_ON_OWN] if self.smoke else []), made]


def provenance_of(records: Iterable[Record]) -> Provenance:
    """Sum up the runs; a run that stands behind several cells counts once."""
    unique = {r.id: r for r in records}.values()
    return Provenance(
        profiles=_distinct(r.protocol.need("profile") for r in unique),
        devices=_distinct(r.environment.device for r in unique),
        dates=_ends(sorted(r.finished[:10] for r in unique)),
        commits=_distinct(r.environment.commit for r in unique),
        versions=_distinct(f"clipbench {r.environment.clipbench}, torch {r.environment.torch}" for r in unique),
        runs=len(unique),
        generated=not any("@" in r.protocol.need("dataset") for r in unique),
    )


def _distinct(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(words)))


def _ends(dates: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((dates[0], dates[-1]))) if dates else ()


def _joined(words: Sequence[str]) -> str:
    return " and ".join(words)
