"""Numbers that official code gave on a tiny random CLIP (``official/``), and our methods set up as a run sets them up.

Every ``<method>.json`` says which repository, commit and lines a fixture comes from, what its tensors mean, and which
tolerances fit. ``CLIPBENCH_OFFICIAL`` names a folder with another draw of the same fixtures.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from clipbench.engine.optimiser import Optimiser
from clipbench.methods import method as method_of
from clipbench.methods.base import Method, Setting
from clipbench.models.image_text import ImageText, load_image_text
from clipbench.models.weights.sources import Sources
from clipbench.registry import Protocol
from tests.factory import protocol_of

FOLDER = Path(os.environ.get("CLIPBENCH_OFFICIAL", Path(__file__).parent / "official"))
CPU = torch.device("cpu")
_DASSL = {
    "DescribableTextures": "dtd",
    "OxfordFlowers": "flowers102",
    "FGVCAircraft": "fgvc_aircraft",
    "OxfordPets": "oxford_pets",
    "StanfordCars": "stanford_cars",
}
"""Dassl's names of data sets, where they are not ours in other letters."""


@dataclass(frozen=True)
class Fixture:
    """One method's numbers, and what they mean."""

    meta: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @property
    def column(self) -> str:
        """The data set whose words the numbers were made with: a column of CLIP-DoRA's Table 1."""
        name = str(self.meta["settings"].get("DATASET.NAME", "Caltech101"))
        return _DASSL.get(name, name.lower())

    @property
    def labels(self) -> Tensor:
        """Labels ``[1, B]`` of the images."""
        return torch.tensor([self.meta["labels"]])

    def near(self, name: str, found: Tensor, tolerance: str) -> None:
        """The tensor of that name within the tolerance that the fixture suggests."""
        due = self.tensors[name]
        assert found.shape == due.shape, f"{name}: {list(found.shape)}, expected {list(due.shape)}"
        off = float((found.detach().double() - due.double()).abs().max())
        assert off <= self.meta["suggested tolerances"][tolerance], f"{name} is off by {off:.1e}"


@cache
def fixture(name: str) -> Fixture:
    meta = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return Fixture(meta, load_file(FOLDER / f"{name}.safetensors"))


@cache
def images() -> Tensor:
    return load_file(FOLDER / "images.safetensors")["images"]


@cache
def tiny_clip(weights: Path | None = None) -> ImageText:
    """The tiny CLIP in float32, from its own or other ``weights``, through the loader of ``--weights FILE``."""
    meta = json.loads((FOLDER / "tiny_openai_clip.json").read_text(encoding="utf-8"))
    config = meta["open_clip_config"]
    state = load_file(FOLDER / "tiny_openai_clip.safetensors")
    rows = torch.arange(1, config["text_cfg"]["vocab_size"] + 1, dtype=torch.float64)[:, None]
    columns = torch.arange(1, config["text_cfg"]["width"] + 1, dtype=torch.float64)
    state["token_embedding.weight"] = (0.1 * torch.sin(0.6180339887 * rows * columns)).float()
    with TemporaryDirectory() as folder:
        paths = Path(folder, "tiny_openai_clip.json"), Path(folder, "tiny.safetensors")
        paths[0].write_text(json.dumps(config), encoding="utf-8")
        save_file(state, paths[1])
        return load_image_text("tiny_openai_clip", "sha256:tiny", Sources(paths[0], weights or paths[1]))


def protocol(row: str, column: str, **changes: Any) -> Protocol:
    """The protocol of a cell of CLIP-DoRA's Table 1, in float32."""
    return Protocol.of({**protocol_of("clip-dora/table1", row, column).as_dict(), "precision": "fp32", **changes})


def made(protocol: Protocol, classes: list[str]) -> Method:
    """The protocol's method on the tiny CLIP, for one run."""
    method = method_of(protocol.need("method"))
    method.setup(Setting(tiny_clip(), classes, protocol.need("template"), protocol, (1,), CPU))
    return method.train()


@torch.no_grad()
def put(method: Method, **values: Tensor) -> None:
    """Start parameters of one run from values without its axis."""
    parameters = dict(method.named_parameters())
    for name, value in values.items():
        parameters[name].copy_(value[None])


class Trainer:
    """Steps of a method at a constant rate, by the optimiser that a run has; gradients stay on the parameters."""

    def __init__(self, method: Method) -> None:
        self.method = method
        protocol = method.setting.protocol
        combine = method.combine if type(method).combine is not Method.combine else None
        self._rate = float(protocol.need("lr"))
        self._optimiser = Optimiser(method.parameter_groups(), protocol, CPU, 1, combine)

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        """The losses before the step, ``[1]`` or ``[K, 1]``."""
        losses = self.method.losses(self.method.image_features(images), labels)
        self._optimiser.step(losses, self._rate)
        return losses.detach()


@torch.no_grad()
def logits_of(method: Method, images: Tensor) -> Tensor:
    """Logits ``[B, C]``, as in a test."""
    method.eval()
    logits = method.logits(method.image_features(images))[0]
    method.train()
    return logits
