"""AdaLoRA: ``W + s B diag(E) A`` whose ranks are pruned by importance on a budget (Zhang et al., ICLR 2023).

Source: QingruZhang/AdaLoRA ``loralib/loralib/adalora.py`` 185-323; peft ``src/peft/tuners/adalora/layer.py`` 390-515
and ``model.py`` 229-257, 349-368. The two are equal until the final phase, where this follows peft: the ranks are
settled at its first step, and that pattern is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn

from clipbench.adapters.errors import AdapterError
from clipbench.adapters.kinds.base import Defaults, Factors
from clipbench.adapters.kinds.low_rank import LoRA

if TYPE_CHECKING:
    from clipbench.adapters.config import AdapterConfig

_TRAINED = ("A", "B", "E")


@dataclass(frozen=True)
class AdaLoRAOptions:
    """AdaLoRA's options.

    Attributes:
        target_rank: Mean rank that is left at the end.
        total_steps: Steps of the whole training; None when nothing is trained.
        initial_steps: Steps before the first pruning (tinit); None for a tenth of the total.
        final_steps: Steps after the last (tfinal); None for half of the total.
        interval: Steps between prunings (deltaT).
        beta1: Factor of the running mean of the importance.
        beta2: Factor of the running mean of its deviation.
        orthogonality: Weight of the term that keeps A and B orthogonal.
    """

    target_rank: int = 2
    total_steps: int | None = None
    initial_steps: int | None = None
    final_steps: int | None = None
    interval: int = 10
    beta1: float = 0.85
    beta2: float = 0.85
    orthogonality: float = 0.1

    def __post_init__(self) -> None:
        for name, least in {
            "target_rank": 1, "total_steps": 1, "initial_steps": 0, "final_steps": 0, "interval": 1,
        }.items():  # fmt: skip
            value = getattr(self, name)
            if (type(value) is not int or value < least) and not (value is None and name.endswith("steps")):
                raise AdapterError(
                    f"AdapterConfig: options: {name} = {value!r} must be a whole number from {least} on."
                )
        for name, most in {"beta1": 1.0, "beta2": 1.0, "orthogonality": float("inf")}.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < most:
                raise AdapterError(f"AdapterConfig: options: {name} = {value!r} must lie in [0, {most:g}).")
        if self.total_steps is not None and sum(self.phases()) >= self.total_steps:
            raise AdapterError(
                f"AdapterConfig: options: {self.phases()[0]} initial and {self.phases()[1]} final steps leave none of "
                f"{self.total_steps} for pruning."
            )

    def phases(self) -> tuple[int, int]:
        """Initial and final steps."""
        total = self.total_steps or 0
        return (
            total // 10 if self.initial_steps is None else self.initial_steps,
            total // 2 if self.final_steps is None else self.final_steps,
        )


class AdaLoRA(LoRA):
    """LoRA in the form of a singular value decomposition.

    Attributes:
        E: `[R, r, 1]`; starts at zero. A `[R, r, in]` and B `[R, out, r]` start normal, standard deviation 0.02.
        kept: `[R, r]`, which triplets the last pruning left.
        step: `[R]`, steps of the schedule so far.
        importance_A: Running mean of |A dA|, like A; likewise `importance_B`, `importance_E`.
        deviation_A: Running mean of its deviation, like A; likewise `deviation_B`, `deviation_E`.
    """

    defaults: ClassVar[Defaults] = Defaults(3, 16.0, "alpha/r", 2e-3, "AdaLoRA's scripts for GLUE")
    Options: ClassVar[type[Any]] = AdaLoRAOptions
    training_state: ClassVar[tuple[str, ...]] = (
        "step", *(f"{word}_{name}" for word in ("importance", "deviation") for name in _TRAINED),
    )  # fmt: skip
    scheduled: ClassVar[tuple[str, ...]] = ("kept", *training_state)
    E: nn.Parameter
    kept: Tensor
    step: Tensor

    @classmethod
    def check(cls, config: AdapterConfig) -> None:
        """The starts of LoRA are not for it, and there must be something to prune."""
        options = cast(AdaLoRAOptions, config.options)
        if config.init != "kaiming-uniform-sqrt5":
            raise AdapterError(
                f"AdapterConfig: init = {config.init!r} is not for kind = 'adalora', which has its start."
            )
        if options.total_steps is not None and options.target_rank >= config.rank:
            raise AdapterError(
                f"AdapterConfig: options: target_rank = {options.target_rank} must be less than rank = {config.rank}."
            )

    def build(self, weight: Tensor, dtype: torch.dtype, shared: Any) -> None:
        """The triplets, and the state of the schedule."""
        super().build(weight, dtype, shared)
        replicas = self.config.replicas
        self.E = nn.Parameter(weight.new_zeros(replicas, self.rank, 1, dtype=dtype))
        self.register_buffer("kept", torch.ones(replicas, self.rank, dtype=torch.bool, device=weight.device))
        self.register_buffer("step", torch.zeros(replicas, dtype=torch.int64, device=weight.device))
        for name in _TRAINED:
            for word in ("importance", "deviation"):
                self.register_buffer(f"{word}_{name}", torch.zeros_like(getattr(self, name).detach()))

    @torch.no_grad()
    def draw(self, generators: Sequence[torch.Generator], weight: Tensor) -> None:  # noqa: ARG002
        """A and B normal, E zero."""
        self.E.zero_()
        for r, generator in enumerate(generators):
            for parameter in (self.A, self.B):
                parameter[r].copy_(0.02 * torch.randn(parameter.shape[1:], generator=generator))

    def factors(self) -> Factors:
        """``diag(E) A`` and B; the divisor stays the rank at the start, whatever was pruned."""
        scale = self.scale * self.rank / (self.rank + 1e-5) if self.config.scaling == "alpha/r" else self.scale
        return Factors(self.A * self.E, self.B, scale)

    def orthogonality(self) -> Tensor:
        """``|A A^T - I| + |B^T B - I|``, Frobenius, `[R]`."""
        identity = torch.eye(self.rank, device=self.A.device, dtype=self.A.dtype)
        grams = (self.A @ self.A.mT - identity, self.B.mT @ self.B - identity)
        return sum((torch.linalg.matrix_norm(gram) for gram in grams), start=torch.zeros(()).to(self.A))

    @torch.no_grad()
    def observe(self) -> None:
        """Take the gradients, which must still be there after the optimiser's step, into the running means."""
        options = cast(AdaLoRAOptions, self.config.options)
        for name in _TRAINED:
            parameter = cast(Tensor, getattr(self, name))
            if parameter.grad is None:
                raise AdapterError("AdaLoRA: prune(model) comes after the optimiser's step and before zero_grad().")
            now = (parameter * parameter.grad).abs()
            # A step that fp16's loss scale skips has a gradient that is not finite: it says nothing.
            now = torch.where(now.isfinite(), now, getattr(self, f"importance_{name}"))
            importance, deviation = getattr(self, f"importance_{name}"), getattr(self, f"deviation_{name}")
            importance.mul_(options.beta1).add_(now, alpha=1 - options.beta1)
            deviation.mul_(options.beta2).add_((now - importance).abs(), alpha=1 - options.beta2)

    def scores(self) -> Tensor:
        """Importance of each triplet, `[R, r]`: importance times deviation, of E, and the means over A and B."""
        parts = {name: getattr(self, f"importance_{name}") * getattr(self, f"deviation_{name}") for name in _TRAINED}
        return cast(Tensor, parts["E"][..., 0] + (parts["A"].mean(2) + parts["B"].mean(1)))

    @torch.no_grad()
    def mask(self, kept: Tensor | None = None) -> None:
        """Zero E outside of `kept [R, r]`, or outside of what was kept before. It may grow back until the next time."""
        if kept is not None:
            self.kept.copy_(kept)
        self.E.masked_fill_(~self.kept[..., None], 0.0)


def budget(step: int, initial: int, target: int, options: AdaLoRAOptions) -> tuple[int, bool]:
    """Ranks allowed in all matrices together after `step` (from 0), and whether it prunes (equation 12).

    Args:
        step: The step that was just made.
        initial: Sum of the ranks at the start.
        target: Sum of the ranks at the end.
        options: The schedule; `total_steps` must be known.
    """
    first, last = options.phases()
    total = cast(int, options.total_steps)
    if step <= first:
        return initial, False
    if step > total - last:
        return target, True
    share = 1 - (step - first) / (total - last - first)
    return int((initial - target) * share**3 + target), step % options.interval == 0


def prune(branches: Sequence[AdaLoRA]) -> None:
    """One step of the schedule over all `branches`, after the optimiser's step and before gradients are cleared.

    Raises:
        AdapterError: The total number of steps is unknown, or a gradient is missing.
    """
    first = branches[0]
    options = cast(AdaLoRAOptions, first.config.options)
    if options.total_steps is None:
        raise AdapterError("AdaLoRA: the schedule needs options={'total_steps': ...} in the AdapterConfig.")
    step, settled = int(first.step[0]), options.total_steps - options.phases()[1]
    if step < settled:
        for branch in branches:
            branch.observe()
    if step > settled:
        for branch in branches:
            branch.mask()
    else:
        initial = sum(branch.rank for branch in branches)
        allowed, due = budget(step, initial, options.target_rank * len(branches), options)
        if due or step == settled:
            _mask_to(branches, initial - allowed)
    for branch in branches:
        branch.step += 1


def _mask_to(branches: Sequence[AdaLoRA], dropped: int) -> None:
    """Drop the `dropped` least important triplets of each replica, over all matrices; ties with the last go too."""
    scores = [branch.scores() for branch in branches]
    threshold = torch.cat(scores, 1).kthvalue(max(dropped, 1), dim=1, keepdim=True).values
    for branch, score in zip(branches, scores, strict=True):
        branch.mask(score > threshold)
