"""What a run would do on this machine, run by run: done, to run, or blocked, and by what; nothing is downloaded."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clipbench.data.load import Datasets
from clipbench.errors import UserError
from clipbench.models import family
from clipbench.models.weights.catalogue import WITHOUT_FILE, checkpoint, hub_cache
from clipbench.models.weights.sources import Sources
from clipbench.plan.needs import has_weights
from clipbench.plan.present import Present
from clipbench.plan.select import Plan, Planned
from clipbench.registry import Protocol

_EXTRAS: Mapping[str, tuple[str, str]] = {"clipseg": ("transformers", "segmentation")}
"""Of a family of models, the package that it needs and the extra that installs it."""


@dataclass(frozen=True)
class Obstacle:
    """Why a run is blocked: the kind, what lacks, and what to do.

    The kinds are ``data``, ``synthetic`` (images), ``weights``, ``precision`` and ``extra``.
    """

    kind: str
    what: str
    says: str


@dataclass(frozen=True)
class Outlook:
    """One run: its state (``done``, ``to run``, ``blocked``), what blocks it, and what else is to be known."""

    planned: Planned
    state: str
    obstacles: Sequence[Obstacle] = ()
    note: str = ""


class Machine:
    """What runs meet here: the data root, the caches of weights, a device, installed packages; each asked once."""

    def __init__(self, datasets: Datasets, device: str, sources: Sources) -> None:
        self._datasets, self._device, self._sources = datasets, device, sources
        self._data: dict[tuple[str, bool], Obstacle | None] = {}
        self._weights: dict[tuple[str, str], Obstacle | None] = {}

    def outlook(self, plan: Plan, present: Present) -> list[Outlook]:
        """Every run of a plan. One that is done needs nothing."""
        return [self._of(planned, present) for planned in plan.runs]

    def obstacles(self, protocol: Protocol) -> list[Obstacle]:
        """What blocks runs of a protocol."""
        data = self._lacking_data(protocol)
        found = (data or self._lacking_synthetic(protocol), self._lacking_weights(protocol), self._precision(protocol))
        return [x for x in (*found, _lacking_extra(protocol)) if x is not None]

    def _of(self, planned: Planned, present: Present) -> Outlook:
        if present.has(planned.run):
            return Outlook(planned, "done")
        blocked = self.obstacles(planned.run.protocol)
        differs = present.outdated.get(planned.run.id)
        note = f"there is a record of other data: {differs}" if differs else ""
        return Outlook(planned, "blocked" if blocked else "to run", tuple(blocked), note)

    def _lacking_data(self, protocol: Protocol) -> Obstacle | None:
        key = protocol.need("dataset"), protocol.shots == 0
        if key not in self._data:
            says = self._datasets.check([protocol]).get(key[0])
            self._data[key] = Obstacle("data", key[0].partition("@")[0], says) if says else None
        return self._data[key]

    def _lacking_synthetic(self, protocol: Protocol) -> Obstacle | None:
        try:
            self._datasets.images_of_run(protocol)
        except UserError as error:
            return Obstacle("synthetic", f"synthetic images of {protocol.dataset}", str(error))
        return None

    def _lacking_weights(self, protocol: Protocol) -> Obstacle | None:
        pair = protocol.need("backbone"), protocol.need("weights")
        if self._sources.weights is not None or pair[1] in WITHOUT_FILE:
            return None
        if pair not in self._weights:
            what = " ".join(pair)
            says = f"the weights {what} are in no cache of this machine; a run fetches them, or pass --weights FILE"
            self._weights[pair] = None if _in_a_cache(*pair) else Obstacle("weights", what, says)
        return self._weights[pair]

    def _precision(self, protocol: Protocol) -> Obstacle | None:
        if not protocol.need("precision").startswith("fp16") or self._device != "cpu":
            return None
        return Obstacle("precision", "fp16", "fp16 needs a GPU; on the CPU use --precision bf16 or fp32")


def _lacking_extra(protocol: Protocol) -> Obstacle | None:
    needed = _EXTRAS.get("clipseg" if protocol.task == "segmentation" else family(protocol.need("backbone")))
    if needed is None or importlib.util.find_spec(needed[0]) is not None:
        return None
    package, extra = needed
    return Obstacle("extra", package, f"{package} is not installed: pip install 'clipbench[{extra}]'")


def _in_a_cache(backbone: str, weights: str) -> bool:
    """Whether the file is in the caches of Hugging Face, timm or open_clip, by the catalogue or their own lists."""
    if checkpoint(backbone, weights) is not None:
        return has_weights(backbone, weights)
    return any(_has_repository(hub) for hub in _hubs(backbone, weights))


def _hubs(backbone: str, weights: str) -> list[str]:
    """The repositories that open_clip and timm would ask for weights that our catalogue does not have."""
    if family(backbone) == "timm":
        import timm

        found = timm.get_pretrained_cfg(f"{backbone}.{weights}", allow_unregistered=True)
        hub = getattr(found, "hf_hub_id", None)
        return [hub if isinstance(hub, str) and "/" in hub else f"timm/{backbone}.{weights}"]
    import open_clip

    known = open_clip.get_pretrained_cfg(backbone, weights) or {}
    return [str(known["hf_hub"]).rstrip("/")] if known.get("hf_hub") else [weights]


def _has_repository(hub: str) -> bool:
    repository = hub_cache() / f"models--{hub.strip('/').replace('/', '--')}"
    files: list[Path] = [f for f in repository.glob("snapshots/*/*") if f.suffix in (".safetensors", ".bin", ".pt")]
    return bool(files)
