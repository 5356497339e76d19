"""A finished run tested again from what it has kept, without training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clipbench.data.content import content_of
from clipbench.data.splits import split
from clipbench.engine.context import Context
from clipbench.engine.kept import restore
from clipbench.engine.loop import Loop
from clipbench.engine.run_job import parts_of
from clipbench.engine.tasks import make_task
from clipbench.models.products import PYTORCH, products
from clipbench.results.record import Record


@dataclass(frozen=True)
class Evaluated:
    """The metrics of the test, the first one the main one, and how data or weights differ from the record's."""

    metrics: Mapping[str, float]
    differs: tuple[str, ...]


def evaluate(record: Record, folder: Path, context: Context) -> Evaluated:
    """Load what the run in ``folder`` has kept (``--keep adapters``), and test it on the protocol's test images.

    Raises ``UserError`` where nothing was kept, or data or weights are missing.
    """
    protocol, seeds = record.protocol, [record.seed]
    images = context.listed.images(protocol)
    cut = split(images, protocol, record.seed)
    parts = parts_of(images, [cut], protocol)
    task = make_task(protocol, images, parts, seeds, context)
    method = task.method
    for stage in range(method.stages):
        method.new_stage(stage)
    task.to(context.device)
    restore(task, folder)
    loop = Loop(task, parts, method.stage_protocol(method.stages - 1), seeds, context.device)
    with products(record.environment.products if context.device.type == "cpu" else PYTORCH):
        outputs = {name: values[0] for name, values in loop.evaluate().outputs.items()}
    return Evaluated(task.results(outputs, cut).metrics, _differs(record, content_of(images, cut).sha256, task.model))


def _differs(record: Record, content: str, model: object) -> tuple[str, ...]:
    found = {"data": (record.data.content_sha256, content)}
    found["weights"] = (record.model.weights_sha256, str(getattr(model, "weights_sha256", "")))
    return tuple(
        f"the {what} are not those of the record (SHA-256 {here[:12]}, not {there[:12]})"
        for what, (there, here) in found.items()
        if there and there != here
    )
