"""What is trained in CLIPSeg beside adapters, and what a gradient reaches in full fine-tuning."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from clipbench.errors import UserError


def free(clipseg: nn.Module, *, encoder_gradient: bool) -> None:
    """Full fine-tuning: everything, or the decoder alone where the gradient is stopped in front of the towers.

    Stopped is what medvlsm's code does, though it unfreezes all: an optimiser skips what has no gradient, weight decay
    included. With the gradient, the blocks and projections that the decoder never reads still do not move, but count.
    """
    clipseg.requires_grad_(encoder_gradient)
    _decoder(clipseg).requires_grad_(True)


def train_beside(clipseg: nn.Module, part: str | None, *, replicas: int) -> None:
    """Free a part beside the adapters: ``up-convolution`` (CLIP-DoRA sec. 4.4), or nothing.

    "The transposed convolution responsible for the upscale" is the refined decoder's whole head: a 3 x 3 convolution
    and two transposed ones. Raises ``UserError`` for another part, and for a model without a segmentation decoder.
    """
    if part is None:
        return
    decoder = _decoder(clipseg)
    if part != "up-convolution":
        raise UserError(f"also_trained = {part!r}: beside adapters only the up-convolution can be trained in CLIPSeg.")
    decoder.transposed_convolution.requires_grad_(True)
    if replicas > 1:
        decoder.transposed_convolution = PerReplica(decoder.transposed_convolution, replicas)


class PerReplica(nn.Module):
    """R copies of a module, each for its own rows: ``[R*B, ...]`` to ``[R*B, ...]``.

    ``stacked`` holds each parameter of the module as ``[R, ...]``: whatever is trained has the replica axis in front.
    """

    def __init__(self, module: nn.Module, replicas: int) -> None:
        super().__init__()
        # In a tuple it is no submodule: its own parameters are neither trained nor counted.
        self._shape = (module,)
        self._names = tuple(name for name, _ in module.named_parameters())
        copies = [torch.stack([p.detach()] * replicas) for p in module.parameters()]
        self.stacked = nn.ParameterList(nn.Parameter(copy) for copy in copies)

    def forward(self, x: Tensor) -> Tensor:
        """Rows grouped by replica, each group through its copy."""
        parts = x.view(len(self.stacked[0]), -1, *x.shape[1:])
        return torch.cat([functional_call(*self._shape, self.of_replica(r), (part,)) for r, part in enumerate(parts)])

    def of_replica(self, replica: int) -> dict[str, Tensor]:
        """The parameters of one copy, by their names in the module."""
        return {name: value[replica] for name, value in zip(self._names, self.stacked, strict=True)}


def _decoder(clipseg: nn.Module) -> Any:
    if not hasattr(clipseg, "decoder"):
        raise UserError("this backbone has no segmentation decoder; also_trained and encoder_gradient are CLIPSeg's.")
    return cast(Any, clipseg).decoder
