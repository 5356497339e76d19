"""CLIPN: a second text tower that says what an image is not (Wang et al., ICCV 2023; xmed-lab/CLIPN)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from clipbench.errors import MissingTowerError
from clipbench.methods.base import Method, Setting
from clipbench.models.towers import TextTower
from clipbench.models.transfer import sent
from clipbench.models.weights.files import read_tensors
from clipbench.registry.field import Field

PROMPTS = 16
"""Additive prompts of full length that the "no" tower's inputs get; the test takes their mean (model.py:600-616)."""
_PARTS = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection")
_EPS = 1e-4
_STAND_IN_STD = 0.02


class NoTower(nn.Module):
    """A copy of CLIP's text tower with weights of its own, and what is added to its tokens' embeddings."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        for name in _PARTS:
            setattr(self, name, copy.deepcopy(getattr(tower, name)))
        self.register_buffer("attn_mask", tower.attn_mask, persistent=False)
        length, width = tower.positional_embedding.shape
        self.prompt = nn.Parameter(torch.zeros(PROMPTS, length, width))

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Fill from CLIPN's own keys: ``prompt_no``, ``transformer_no.…``, ``ln_final_no.…`` and so on."""
        own = {name: tensors[self.key(name)] for name in self.state_dict() if self.key(name) in tensors}
        lacking = sorted(set(self.state_dict()) - set(own))
        if lacking:
            raise MissingTowerError(
                f"the weights file has no 'no' text tower of CLIPN: {len(lacking)} tensors are missing, such as "
                f"{self.key(lacking[0])}. {WHERE}"
            )
        self.load_state_dict(own)

    @staticmethod
    def key(name: str) -> str:
        """CLIPN's name of a parameter: ``_no`` stands behind the first part."""
        first, dot, rest = name.partition(".")
        return f"{first}_no{dot}{rest}"

    def features(self, tower: TextTower, ids: Tensor, ends: Tensor, chosen: Tensor | None = None) -> Tensor:
        """Features ``[C, D]`` of tokens ``[C, L]``, with the prompt ``chosen`` ``[C]`` of each; None: the mean of all.

        The number behind the last prompt stands for the mean (model.py:600-616: one of 17 is drawn in training).
        """
        prompts = torch.cat([self.prompt, self.prompt.mean(dim=0, keepdim=True)])
        added = prompts[-1:] if chosen is None else prompts[chosen]
        return tower.encode(tower.embed(ids) + added[:, : ids.shape[1]], ids, ends)


WHERE = (
    "CLIPN's authors offer theirs, trained on CC3M, from the README of github.com/xmed-lab/CLIPN; "
    "give it with --backbone ViT-B-32 --weights FILE."
)


class CLIPN(Method):
    """CLIP with a vote against each class; nothing is trained. The last column stands for the unknown."""

    seed_axis: ClassVar[bool] = True
    rejects: ClassVar[bool] = True
    fields: ClassVar[Sequence[Field]] = (
        Field(
            "clipn_decision",
            str,
            "CLIPN: an image is unknown where the top class's no wins, or where what the yes leaves over is larger "
            "than the largest probability, with or without its yes",
            words=("competing-to-win", "agreeing-to-differ", "agreeing-to-differ-softmax"),
        ),
        Field(
            "clipn_tower",
            str,
            "CLIPN: its second text tower from the weights file, or in its place a copy of the first with random "
            "prompts, which proves the machinery only",
            words=("weights-file", "stand-in"),
            optional=True,
        ),
    )

    def setup(self, setting: Setting) -> None:
        """Put the second tower beside the model. Raises ``MissingTowerError`` where the weights file has none."""
        super().setup(setting)
        self.no = NoTower(setting.model.text.tower).requires_grad_(False)
        if setting.protocol.get("clipn_tower") == "stand-in":
            self.no.prompt.normal_(std=_STAND_IN_STD, generator=torch.Generator().manual_seed(0))
            return
        if setting.weights_file is None:
            raise MissingTowerError(f"CLIPN needs weights of its own, with a second text tower. {WHERE}")
        self.no.load({key.removeprefix("module."): value for key, value in read_tensors(setting.weights_file).items()})

    def no_features(self) -> Tensor:
        """Features ``[C, D]`` of the classes' prompts by the second tower."""
        prompts, device = self.prompts(), self.no.prompt.device
        return self.no.features(TextTower(self.no), sent(prompts.ids, device), sent(prompts.ends, device))

    @torch.no_grad()
    def logits(self, features: Tensor) -> Tensor:
        """``[R, B, C + 1]`` of image features ``[R*B, D]``: an image is unknown where the last is the largest."""
        classes = self.class_features()
        yes = self.cosine(features, classes)
        no = self.cosine(features, self.no_features().expand(len(classes), -1, -1))
        return decide(yes, no, self.setting.protocol.need("clipn_decision"))


def yes_probability(yes: Tensor, no: Tensor) -> Tensor:
    """Probability of the yes of each pair of logits ``[..., C]`` (zero_shot_infer.py:24-30)."""
    return torch.sigmoid(yes - no)


def decide(yes: Tensor, no: Tensor, rule: str) -> Tensor:
    """Logits ``[..., C + 1]`` whose largest is the decision, from those of both towers ``[..., C]``.

    ``competing-to-win``: unknown where the top class's no is likelier than its yes. ``agreeing-to-differ``: the yes
    takes a share of each class's probability, and what is left over is the unknown's; ``-softmax``: that remainder
    against the probabilities as they are.
    """
    agreed = yes_probability(yes, no)
    if rule == "competing-to-win":
        top, place = yes.max(dim=-1, keepdim=True)
        margin = torch.gather(no - yes, -1, place)
        return torch.cat([yes, top + margin], dim=-1)
    share = yes.softmax(dim=-1)
    left = 1.0 - (agreed * share).sum(dim=-1, keepdim=True)
    known = agreed * share if rule == "agreeing-to-differ" else share
    return torch.cat([known, left], dim=-1).clamp_min(1e-30).log()


def clipn_loss(images: Tensor, yes: Tensor, no: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """CLIPN's three terms on N pairs of normalised features ``[N, D]`` (loss.py:147-170): its loss is half their sum.

    The yes on the diagonal, the no off it, and the distance of a prompt's two features, which should be opposite.
    """
    a, b = scale * images @ yes.T, scale * images @ no.T
    log_yes, log_no = functional.logsigmoid(a - b), functional.logsigmoid(b - a)
    pairs = torch.eye(len(images), dtype=torch.bool, device=images.device)
    cosine = (yes * no).sum(dim=-1)
    apart = 2.0 - torch.sqrt(2.0 - 2.0 * cosine + _EPS)
    return -log_yes[pairs].mean(), -log_no[~pairs].mean(), apart.mean()
