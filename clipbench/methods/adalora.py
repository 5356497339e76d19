"""AdaLoRA (Zhang et al., ICLR 2023): the ranks go where they matter, on a budget that falls while training."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from clipbench.adapters import after_step, regularisation
from clipbench.methods.low_rank import LoRA
from clipbench.registry.field import Field


class AdaLoRA(LoRA):
    """``W0 + s B diag(E) A`` with an orthogonality term; the protocol's rank is the one at the start."""

    kind: ClassVar[str] = "adalora"
    uses: ClassVar[tuple[str, ...]] = (
        "rank", "alpha", "scaling", "targets", "towers", "adapter_dropout", "also_trained",
    )  # fmt: skip
    fields: ClassVar[tuple[Field, ...]] = (
        Field("target_rank", int, "AdaLoRA: mean rank that is left at the end", low=1, high=4096),
        Field("initial_share", float, "AdaLoRA: share of the steps before the first pruning", low=0.0, below=1.0),
        Field("final_share", float, "AdaLoRA: share of the steps after the last pruning", low=0.0, below=1.0),
        Field("prune_interval", int, "AdaLoRA: steps between prunings", low=1),
        Field(
            "importance_betas", tuple, "AdaLoRA: decay rates of importance and deviation", low=0.0, below=1.0, length=2
        ),
        Field("orthogonality", float, "AdaLoRA: weight of the orthogonality term", low=0.0),
    )

    def options(self) -> dict[str, Any]:
        """The schedule, in steps."""
        need, steps = self.setting.protocol.need, self.setting.steps
        importance, deviation = need("importance_betas")
        return {
            "options": {
                "target_rank": need("target_rank"),
                "total_steps": steps or None,
                "initial_steps": int(need("initial_share") * steps),
                "final_steps": int(need("final_share") * steps),
                "interval": need("prune_interval"),
                "beta1": importance,
                "beta2": deviation,
                "orthogonality": need("orthogonality"),
            }
        }

    def losses(self, features: Tensor, truth: Tensor) -> Tensor:
        """The orthogonality term beside each run's loss ``[R]``."""
        return super().losses(features, truth) + regularisation(self.adapted)

    def after_step(self) -> None:
        """Take the gradients into the importance; prune when it is due."""
        after_step(self.adapted)
