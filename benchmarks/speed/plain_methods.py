"""The work of one training step of the published few-shot methods in its plain form: nothing here is used by clipbench.

As their official codes do it: every prompt has 77 tokens and goes through the whole text tower in every step that needs
it, each image through the whole image tower. What a method computes beside the towers (a cache, a residual, optimal
transport) is small next to them and left out, so that the plain form is rather too fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import open_clip
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize


@dataclass(frozen=True)
class Work:
    """What passes through the towers in one step.

    Attributes:
        prompts: Per class; 0 where the text features are computed before training.
        per_image: Each image has prompts of its own.
        learned_prompts: The prompts have learned tokens, so that gradients go through the text tower.
        images: Passes of each image through the tower that learns (or is frozen).
        learned_images: Gradients go through the image tower.
        frozen_images: Passes of each image through a frozen tower beside it.
        backward: Backward passes.
    """

    prompts: int = 0
    per_image: bool = False
    learned_prompts: bool = True
    images: int = 1
    learned_images: bool = False
    frozen_images: int = 0
    backward: int = 1


WORK = {
    "coop-4": Work(prompts=1),
    "coop-16": Work(prompts=1),
    "cocoop": Work(prompts=1, per_image=True),
    "kgcoop": Work(prompts=1),
    "prograd": Work(prompts=1, backward=2),
    "plotpp": Work(prompts=4, images=4, learned_images=True),
    "tip-adapter-f": Work(),
    "clip-adapter": Work(prompts=1, learned_prompts=False),
    "taskres": Work(),
    "maple": Work(prompts=1, learned_images=True),
    "promptsrc": Work(prompts=1, learned_images=True, frozen_images=1),
}


class PlainMethod(nn.Module):
    """One learned vector in front of each tower's blocks stands for all that is learned: gradients go as far."""

    def __init__(self, clip: Any, names: Sequence[str], work: Work) -> None:
        super().__init__()
        self.clip, self.work = clip.requires_grad_(False), work
        self.names = list(names)
        self.context = nn.Parameter(torch.zeros(clip.token_embedding.weight.shape[1]), work.learned_prompts)
        self.image_context = nn.Parameter(torch.zeros(clip.visual.transformer.width), work.learned_images)
        self.bias = nn.Parameter(torch.zeros(len(names)))

    def losses(self, images: Tensor, labels: Tensor) -> Tensor:
        """As many losses as there are backward passes, ``[K]``."""
        for _ in range(self.work.frozen_images):
            with torch.no_grad():
                self.clip.encode_image(images)
        seen = normalize(torch.stack([self._images(images) for _ in range(self.work.images)]).mean(dim=0), dim=-1)
        logits = self._logits(seen) + self.bias
        return torch.stack([cross_entropy(logits.float(), labels)] * self.work.backward)

    def _images(self, images: Tensor) -> Tensor:
        visual = self.clip.visual
        states = visual.transformer(visual._embeds(images) + self.image_context)
        return visual.ln_post(states)[:, 0] @ visual.proj

    def _logits(self, seen: Tensor) -> Tensor:
        if not self.work.prompts:
            return 100.0 * seen @ normalize(torch.ones(len(self.names), seen.shape[1], device=seen.device), dim=-1).T
        if self.work.per_image:
            return 100.0 * torch.stack([one @ self._texts().T for one in seen])
        return 100.0 * seen @ self._texts().T

    def _texts(self) -> Tensor:
        """Class features ``[C, D]``, averaged over each class's prompts."""
        clip = self.clip
        tokens = open_clip.tokenize([f"X X X X {name}." for name in self.names], 77).to(self.context.device)
        found = []
        for _ in range(self.work.prompts):
            states = clip.token_embedding(tokens) + self.context + clip.positional_embedding
            states = clip.ln_final(clip.transformer(states, attn_mask=clip.attn_mask))
            found.append(states[torch.arange(len(tokens)), tokens.argmax(dim=-1)] @ clip.text_projection)
        return normalize(torch.stack(found).mean(dim=0), dim=-1)
