"""VeRA: ``W + diag(b) B diag(d) A``, A and B random, frozen and shared by all (Kopiczko et al., ICLR 2024).

Source of the shared matrices' draw and of the start: peft ``src/peft/tuners/vera/model.py`` 49-75 and 147-160,
``layer.py`` 135-139.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn

from clipbench.adapters.errors import AdapterError
from clipbench.adapters.kinds.base import Branch, Defaults, Factors, SharedDown

if TYPE_CHECKING:
    from clipbench.adapters.config import AdapterConfig


@dataclass(frozen=True)
class VeRAOptions:
    """VeRA's options.

    Attributes:
        key: Seed of the shared matrices.
        d_initial: Start of d.
    """

    key: int = 0
    d_initial: float = 0.1

    def __post_init__(self) -> None:
        if type(self.key) is not int or not 0 <= self.key < 2**63:
            raise AdapterError(f"AdapterConfig: options: key = {self.key!r} must be a whole number of at least 0.")
        if isinstance(self.d_initial, bool) or not isinstance(self.d_initial, int | float):
            raise AdapterError(f"AdapterConfig: options: d_initial = {self.d_initial!r} must be a number.")


class SharedMatrices:
    """A `[r, largest in]` and B `[largest out, r]`: one copy for each device and type that asks, however many branches.

    No module, so that casting a model does not give every branch a copy of its own.
    """

    def __init__(self, down: Tensor, up: Tensor) -> None:
        self._copies = {(down.device, down.dtype): (down, up)}

    def like(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        """Both, on the device and in the type of `tensor`."""
        key = (tensor.device, tensor.dtype)
        if key not in self._copies:
            A, B = next(iter(self._copies.values()))
            self._copies[key] = (A.to(tensor), B.to(tensor))
        return self._copies[key]

    def replace(self, down: Tensor, up: Tensor) -> None:
        """Take these in the place of what was drawn.

        Raises:
            AdapterError: They are of another shape.
        """
        have = next(iter(self._copies.values()))
        if any(new.shape != old.shape for new, old in zip((down, up), have, strict=True)):
            shapes = [tuple(t.shape) for t in (down, up, *have)]
            raise AdapterError(f"VeRA: shared matrices of shapes {shapes[:2]} do not fit this model's {shapes[2:]}.")
        self._copies = {(down.device, down.dtype): (down.clone(), up.clone())}


class VeRA(Branch):
    """Two trained vectors.

    Attributes:
        d: `[R, r]`; starts at `VeRAOptions.d_initial`.
        b: `[R, out]`; starts at zero, so that the first step moves b alone.
        shared: The frozen A and B; this matrix uses ``A[:, :in]`` and ``B[:out]``.
    """

    defaults: ClassVar[Defaults] = Defaults(256, 1.0, "alpha", 1e-2, "few-shot CLIP in PaulAlbert31/RandLoRA")
    Options: ClassVar[type[Any]] = VeRAOptions
    d: nn.Parameter
    b: nn.Parameter
    shared: SharedMatrices

    @classmethod
    def check(cls, config: AdapterConfig) -> None:
        """There is no alpha, and one rank for all."""
        if config.scale != 1.0 or config.alpha_pattern:
            raise AdapterError("AdapterConfig: kind = 'vera' has no alpha (d and b are its scale); leave alpha out.")
        if config.rank_pattern:
            raise AdapterError("AdapterConfig: kind = 'vera' shares A and B between all matrices: one rank for all.")
        if config.init != "kaiming-uniform-sqrt5":
            raise AdapterError(
                f"AdapterConfig: init = {config.init!r} is not for kind = 'vera': only d and b are trained."
            )

    @classmethod
    def share(cls, shapes: Sequence[tuple[int, int]], config: AdapterConfig) -> SharedMatrices:
        """Kaiming-uniform A, then B, from one generator seeded with the key."""
        generator = torch.Generator().manual_seed(cast(VeRAOptions, config.options).key)
        down = _kaiming_uniform(config.rank, max(size for _, size in shapes), generator)
        return SharedMatrices(down, _kaiming_uniform(max(size for size, _ in shapes), config.rank, generator))

    def build(self, weight: Tensor, dtype: torch.dtype, shared: Any) -> None:
        """The two vectors."""
        self.d = nn.Parameter(weight.new_zeros(self.config.replicas, self.rank, dtype=dtype))
        self.b = nn.Parameter(weight.new_zeros(self.config.replicas, self.shape[0], dtype=dtype))
        self.shared = type(self).share([self.shape], self.config) if shared is None else shared

    @torch.no_grad()
    def draw(self, generators: Sequence[torch.Generator], weight: Tensor) -> None:  # noqa: ARG002
        """Nothing is random but what is shared."""
        self.d.fill_(cast(VeRAOptions, self.config.options).d_initial)
        self.b.zero_()

    def factors(self) -> Factors:
        """``diag(d) A`` and ``diag(b) B``."""
        down, d, up = self.shared_down()
        return Factors(d[..., None] * down, up, 1.0)

    def shared_down(self) -> SharedDown:
        """A, d, and ``diag(b) B``."""
        A, B = self.shared.like(self.d)
        return SharedDown(A[:, : self.shape[1]], self.d, self.b[..., None] * B[: self.shape[0]])

    def stored(self, replica: int) -> dict[str, Tensor]:
        """The vectors, and the matrices: another version of torch may draw others from the same key."""
        A, B = self.shared.like(self.d)
        return {**super().stored(replica), "shared.A": A, "shared.B": B}

    def restore(self, tensors: Mapping[str, Tensor], replica: int) -> None:
        """The inverse of `stored`."""
        super().restore(tensors, replica)
        A, B = self.shared.like(self.d)
        if not (torch.equal(A, tensors["shared.A"].to(A)) and torch.equal(B, tensors["shared.B"].to(B))):
            self.shared.replace(tensors["shared.A"], tensors["shared.B"])


def _kaiming_uniform(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    bound = math.sqrt(6.0 / columns)
    return torch.empty(rows, columns).uniform_(-bound, bound, generator=generator)
