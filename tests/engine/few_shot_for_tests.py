"""Few-shot passes for tests, and CLIP-LoRA's and CLIP-DoRA's training as anyone would write it down.

Plain: 77 tokens, tokenised at every step, one seed, every matrix formed in full as ``W + s B A``, open_clip's own
forward pass, torch's AdamW and scheduler. Only the draws (order, crops, A) come from clipbench's draw functions.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torchvision import transforms
from torchvision.transforms import functional as reference

from clipbench.adapters import AdapterConfig, adapt, adapted_modules
from clipbench.data.load import image_set
from clipbench.data.splits import split
from clipbench.engine.batches.crops import crop_box, epoch_draws
from clipbench.engine.batches.views import epoch_order
from clipbench.engine.random import stream_seed
from clipbench.models.image_tower import CLIP_MEAN, CLIP_STD
from clipbench.models.tiny import load_tiny
from clipbench.plan.select import Planned, make_plan
from clipbench.registry import Overrides, Protocol
from clipbench.results.store import Draft

BICUBIC = transforms.InterpolationMode.BICUBIC
TEST_VIEW = transforms.Compose(
    [
        transforms.Resize(64, BICUBIC),
        transforms.CenterCrop(64),
        transforms.ToTensor(),
        transforms.Normalize(CLIP_MEAN, CLIP_STD),
    ]
)


def few_shot(
    row: str = "clip-lora-1shot", seeds: Sequence[int] = (1,), dataset: str = "caltech101", **fields: Any
) -> list[Planned]:
    """The smoke runs of one cell of CLIP-DoRA's Table 1; a few steps per shot where it trains."""
    fields = ({} if row.startswith("zero-shot") else {"steps_per_shot": 6}) | fields
    overrides = Overrides("smoke", fields=fields)
    return list(make_plan(["fewshot"], overrides, [f"row={row}", f"dataset={dataset}"], seeds).runs)


def step_losses(draft: Draft) -> np.ndarray:
    """The training loss of every step."""
    found: np.ndarray = np.load(io.BytesIO(draft.files["losses.npz"]))["losses"]
    return found


@dataclass
class Dense:
    """One adapted matrix: which rows of which weight, the frozen rows, and what is trained."""

    weight: str
    rows: slice
    frozen: Tensor
    A: Tensor
    B: Tensor
    m: Tensor | None
    scale: float
    axis: int = 1

    def value(self) -> Tensor:
        """``W + s B A``, or DoRA's ``m (W + s B A) / |W + s B A|`` with a norm along ``axis`` that gets no gradient."""
        dense = self.frozen + self.scale * self.B @ self.A
        if self.m is None:
            return dense
        return self.m.unsqueeze(self.axis) * dense / dense.norm(dim=self.axis, keepdim=True).detach()


class PlainRun:
    """One run by hand: losses of every step, and predictions at the end."""

    def __init__(self, protocol: Protocol, seed: int, folder: Path) -> None:
        self.protocol, self.seed, self.folder = protocol, seed, folder
        self.images = image_set(protocol, folder)
        self.parts = split(self.images, protocol, seed)
        self.model: Any = load_tiny().requires_grad_(False)
        self.matrices = _matrices(self.model, protocol, seed)
        self.prompts = [(protocol.template or "").format(name) for name in self.images.prompt_names]

    def train(self) -> list[float]:
        """The loss of every step."""
        p, losses = self.protocol, list[float]()
        optimiser = torch.optim.AdamW(self._groups(), lr=p.lr or 0.0)
        total = (p.steps_per_shot or 0) * (p.shots or 0)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, total, eta_min=p.lr_min or 0.0)
        epoch = 0
        while len(losses) < total:
            for batch, labels in self._batches(epoch):
                if len(losses) == total:
                    break
                loss = cross_entropy(self._logits(batch), labels)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                losses.append(loss.item())
            epoch += 1
        return losses

    @torch.no_grad()
    def predictions(self) -> list[int]:
        """Of the test images, in the order of the split."""
        batch = torch.stack([TEST_VIEW(self._picture(i)) for i in self.parts.test])
        found: list[int] = self._logits(batch).argmax(dim=1).tolist()
        return found

    def _logits(self, batch: Tensor) -> Tensor:
        tokens = open_clip.tokenize(self.prompts, 77)
        image, text, _ = functional_call(self.model, self._weights(), (batch, tokens))
        return 100.0 * image @ text.T

    def _weights(self) -> dict[str, Tensor]:
        """Every adapted weight in full; rows that no adapter holds stay as they are."""
        full = {m.weight: self.model.get_parameter(m.weight).clone() for m in self.matrices}
        for m in self.matrices:
            full[m.weight][m.rows] = m.value()
        return full

    def _groups(self) -> list[dict[str, Any]]:
        decay = self.protocol.weight_decay or 0.0
        factors = [f for m in self.matrices for f in (m.A, m.B)]
        magnitudes = [m.m for m in self.matrices if m.m is not None]
        spared = 0.0 if self.protocol.decay_magnitude is False else decay
        groups = [{"params": factors, "weight_decay": decay}, {"params": magnitudes, "weight_decay": spared}]
        return groups if magnitudes else groups[:1]

    def _batches(self, epoch: int) -> Any:
        count, size = len(self.parts.train), self.protocol.batch_size or 0
        order = epoch_order(self.seed, epoch, count).tolist()
        draws = epoch_draws(self.seed, epoch, count).numpy()
        for start in range(0, count, size):
            positions = range(start, min(start + size, count))
            chosen = [self.parts.train[order[p]] for p in positions]
            crops = [self._crop(i, draws[p]) for i, p in zip(chosen, positions, strict=True)]
            yield torch.stack(crops), torch.tensor([self.images.labels[i] for i in chosen])

    def _crop(self, index: int, draw: np.ndarray) -> Tensor:
        image = self._picture(index)
        box = crop_box(draw, image.height, image.width, (0.08, 1.0))
        image = reference.resized_crop(image, *box, [64, 64], BICUBIC)
        image = reference.hflip(image) if draw[-1] < 0.5 else image
        return reference.normalize(reference.to_tensor(image), CLIP_MEAN, CLIP_STD)

    def _picture(self, index: int) -> Image.Image:
        with Image.open(self.images.root / self.images.files[index]) as image:
            return image.convert("RGB")


def _matrices(model: Any, protocol: Protocol, seed: int) -> list[Dense]:
    """The adapted matrices of both towers; A as clipbench draws it, B zero, m the norms of the rows or columns."""
    drawn = AdapterConfig("lora", 2, targets=protocol.targets or "", init_seeds=(stream_seed(seed, "adapter"),))
    found, axis = [], 0 if protocol.norm_axis == "input" else 1
    for name, adapter in adapted_modules(adapt(load_tiny(), drawn)).items():
        attention, _, target = name.rpartition(".")
        width = adapter.A.shape[2]
        start = {"q": 0, "k": width, "v": 2 * width, "o": 0}[target]
        weight = f"{attention}.out_proj.weight" if target == "o" else f"{attention}.in_proj_weight"
        rows = slice(start, start + width)
        frozen = model.get_parameter(weight)[rows].clone()
        m = frozen.norm(dim=axis).requires_grad_() if protocol.method == "dora" else None
        a, b = adapter.A[0].detach().clone().requires_grad_(), torch.zeros(width, 2, requires_grad=True)
        found.append(Dense(weight, rows, frozen, a, b, m, scale_of(protocol), axis))
    return found


def scale_of(protocol: Protocol) -> float:
    """The factor on B A by its three readings."""
    alpha, rank = protocol.alpha or 0.0, protocol.rank or 1
    return {"alpha/r": alpha / rank, "alpha/sqrt(r)": alpha / math.sqrt(rank)}.get(protocol.scaling or "", alpha)
