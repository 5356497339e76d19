"""Tasks: what a model is trained for, its batches, and how it is scored."""

from __future__ import annotations

from collections.abc import Sequence

from clipbench.data.images import ImageSet
from clipbench.engine.context import Context
from clipbench.engine.tasks.classification import Classification
from clipbench.engine.tasks.segmentation import Segmentation
from clipbench.engine.tasks.task import Parts, Task
from clipbench.registry import Protocol

TASKS = {"linear-head": Classification, "image-text": Classification, "segmentation": Segmentation}


def make_task(protocol: Protocol, images: ImageSet, parts: Parts, seeds: Sequence[int], context: Context) -> Task:
    """The protocol's pretrained model under its method, on the device, with its batches.

    What is trained has ``requires_grad``, and nothing else. Raises ``UserError`` for weights that cannot be had, and
    for images of a size that the model does not take.
    """
    return TASKS[protocol.need("task")](protocol, images, parts, seeds, context)
