"""What a kind of adapter is: the trained parameters of one frozen matrix, and the two factors that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from clipbench.adapters.config import AdapterConfig


@dataclass(frozen=True)
class Defaults:
    """What the source of a kind uses.

    Attributes:
        rank: Inner width.
        alpha: Numerator of the scale.
        scaling: Reading of alpha, a word of `AdapterConfig.scaling`.
        learning_rate: Step size of AdamW (of A, where B has another).
        source: Where these numbers are from.
    """

    rank: int
    alpha: float
    scaling: str
    learning_rate: float
    source: str


@dataclass(frozen=True)
class NoOptions:
    """A kind without options."""


class Factors(NamedTuple):
    """The update ``scale * up @ down`` of a matrix: `down [R, r, in]`, `up [R, out, r]`."""

    down: Tensor
    up: Tensor
    scale: float


class SharedDown(NamedTuple):
    """``up diag(d) down``: a frozen `down [r, in]` for all branches on one input, `d [R, r]`, `up [R, out, r]`."""

    down: Tensor
    d: Tensor
    up: Tensor


class Branch(nn.Module):
    """R adapters on one frozen matrix `[out, in]`; a subclass is a kind.

    Every parameter and every persistent buffer has the leading axis R. Parameters are at least fp32, whatever the
    frozen matrix is.
    """

    defaults: ClassVar[Defaults]
    Options: ClassVar[type[Any]] = NoOptions
    additive: ClassVar[bool] = True
    """The adapted matrix is W plus the product of the factors."""
    quantised: ClassVar[bool] = False
    """The frozen matrix is kept in 4 bits."""
    scheduled: ClassVar[tuple[str, ...]] = ()
    """Buffers that a schedule moves while training: what a checkpoint holds beside the parameters."""
    training_state: ClassVar[tuple[str, ...]] = ()
    """Persistent buffers that only further training needs: in a state dict, but not in a saved adapter."""

    def __init__(self, weight: Tensor, config: AdapterConfig, name: str = "", shared: Any = None) -> None:
        super().__init__()
        self.config = config
        self.rank, self.scale = config.size_of(name, name.rpartition(".")[0])
        self.shape = (weight.shape[0], weight.shape[1])
        self.build(weight, torch.promote_types(weight.dtype, torch.float32), shared)

    @classmethod
    def check(cls, config: AdapterConfig) -> None:
        """Refuse fields of `config` that this kind cannot heed.

        Raises:
            AdapterError: There is one.
        """

    @classmethod
    def share(cls, shapes: Sequence[tuple[int, int]], config: AdapterConfig) -> Any:  # noqa: ARG003
        """What all branches on matrices of these `shapes` (out, in) have in common; None for nothing."""
        return None

    def build(self, weight: Tensor, dtype: torch.dtype, shared: Any) -> None:
        """Register the parameters, in `dtype` and on the device of the frozen `weight`."""
        raise NotImplementedError

    def draw(self, generators: Sequence[torch.Generator], weight: Tensor) -> None:
        """Give the parameters their start over `weight`, replica r from ``generators[r]`` (on the CPU)."""
        raise NotImplementedError

    def factors(self) -> Factors:
        """The update as a product, with a gradient to the parameters."""
        raise NotImplementedError

    def shared_down(self) -> SharedDown | None:
        """The update once more, where its first matrix is not this branch's own, so that it can be computed once."""
        return None

    def gain(self, weight: Tensor) -> Tensor | None:  # noqa: ARG002
        """What output rows `[R, out]` or input columns `[R, in]` are multiplied with; None for nothing."""
        return None

    def refresh(self, weight: Tensor) -> None:
        """Recompute what is cached about the frozen `weight`, after it was cast or loaded."""

    @torch.no_grad()
    def merged(self, weight: Tensor, replica: int) -> Tensor:
        """The matrix `[out, in]` that replica `replica` stands for, in the type of `weight`; summed in fp64."""
        return self.dense(weight, replica).to(weight.dtype)

    def dense(self, weight: Tensor, replica: int) -> Tensor:
        """The same in fp64."""
        down, up, scale = self.factors()
        return weight.double() + scale * (up[replica].double() @ down[replica].double())

    def rates(self) -> dict[str, float]:
        """Parameters whose learning rate is a multiple of the others', by name."""
        return {}

    def stored(self, replica: int) -> dict[str, Tensor]:
        """What a file holds of one replica: parameters and persistent buffers, without the leading axis."""
        return {name: tensor.detach()[replica] for name, tensor in self._kept().items()}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], replica: int) -> None:
        """The inverse of `stored`."""
        for name, tensor in self._kept().items():
            tensor[replica].copy_(tensors[name])

    def _kept(self) -> dict[str, Tensor]:
        names = [name for name in self.state_dict(keep_vars=True) if name not in self.training_state]
        return {name: getattr(self, name) for name in names}

    def extra_repr(self) -> str:
        """What `print` shows."""
        out_features, in_features = self.shape
        return (
            f"{self.config.kind}, in={in_features}, out={out_features}, rank={self.rank}, "
            f"replicas={self.config.replicas}"
        )
