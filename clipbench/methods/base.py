"""What every method offers the engine: what is trained, how logits come about, what the loss is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from clipbench.registry import Protocol

if TYPE_CHECKING:
    from clipbench.engine.support import Support
    from clipbench.engine.tasks.task import Task


class Method(nn.Module):
    """A way of adapting a model. A subclass overrides what differs; one file per method.

    Parameters that the method registers on itself are trained too; their first axis is the replica. Those of the model
    that it leaves with ``requires_grad`` are trained in place.
    """

    replicable: ClassVar[bool] = False
    """Several seeds can share one frozen model in one pass."""

    frozen: ClassVar[bool] = False
    """Nothing in the model is trained, so that its features can be computed once."""

    reads: ClassVar[tuple[str, ...]] = ()
    """Protocol fields of adapters and prompts that the method acts on (``rank``, ``context_tokens``...)."""

    protocol: ClassVar[Mapping[str, Any]] = {}
    """Protocol fields that the method sets for itself where it is named by ``--method`` (its learning rate, say)."""

    label: ClassVar[str] = ""
    """Its name in a table, where it is named by ``--method``; by default that of the class."""

    def attach(self, model: nn.Module, protocol: Protocol, seeds: Sequence[int]) -> None:  # noqa: ARG002
        """Freeze what stays, and put in or free what is trained; one replica per seed, each with its own draw."""
        model.requires_grad_(False)

    def begin(self, task: Task, support: Support) -> None:
        """Look at the support set once, before training: start caches, prototypes, learned prompts."""

    def start_epoch(self, model: nn.Module, seeds: Sequence[int]) -> None:
        """Restart the random streams inside the model (dropout), one seed per replica."""

    def logits(self, task: Task, features: Tensor) -> Tensor:
        """Logits ``[R, B, C]`` of the task's image features ``[R*B, D]``."""
        return task.classify(features)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss ``[R]`` of each replica from logits ``[R, B, C]`` and labels ``[R, B]``: by default cross-entropy.

        The sum over the replicas is what is differentiated: each replica's parameters get the gradient of their own.
        """
        flat = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        return flat.view(labels.shape).mean(dim=1)

    def undecayed(self, model: nn.Module, protocol: Protocol) -> list[nn.Parameter]:  # noqa: ARG002
        """Trained parameters that weight decay spares."""
        return []
