"""What was trained of a run, as files beside its record, and back into a task.

Adapters are kept in the format of ``clipbench.adapters``, which loads them into the same pretrained model without the
rest of this package. Everything else that was trained (a head, prompts, freed weights), and the buffers that training
moved, stand in one safetensors file under their names in the task.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from clipbench import adapters
from clipbench.adapters.kinds import Branch
from clipbench.engine.tasks.task import Task
from clipbench.errors import UserError
from clipbench.methods.base import pretrained

ADAPTERS = "adapters"
"""Stem of the two files of the adapters' format."""
PARAMETERS = "parameters.safetensors"
"""Name of the file with everything else."""


def trained(task: Task) -> dict[str, nn.Parameter]:
    """Parameters that are trained, by their names in the task."""
    return {name: p for name, p in task.named_parameters() if p.requires_grad}


def moving(task: Task) -> dict[str, Tensor]:
    """What changes beside the parameters: the method's buffers, adapters' schedules, batch statistics."""
    parameters = {name for name, _ in task.named_parameters()}
    found = {k: v for k, v in task.method.state_dict(prefix="method.").items() if k not in parameters}
    for name, module in task.named_modules():
        if isinstance(module, Branch):
            found |= {f"{name}.{key}": module.get_buffer(key) for key in module.scheduled}
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
            found |= {f"{name}.{key}": value for key, value in module.named_buffers(recurse=False)}
    return found


def trained_state(task: Task, run: int) -> Mapping[str, Tensor]:
    """One run's trained parameters, by their names in the task."""
    return {name: _of_run(task, p, run) for name, p in trained(task).items()}


def kept_files(task: Task, run: int) -> Mapping[str, bytes]:
    """All that one run needs to be tested again with the protocol's pretrained weights."""
    model, files = pretrained(task.model), dict[str, bytes]()
    inside: set[int] = set()
    if _adapted(model):
        with TemporaryDirectory() as folder:
            adapters.save(model, Path(folder) / ADAPTERS, run)
            files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
        inside = {id(p) for p in model.parameters()}
    values = {name: p for name, p in trained(task).items() if id(p) not in inside}
    branches = [module for module in model.modules() if isinstance(module, Branch)]
    scheduled = {id(branch.get_buffer(key)) for branch in branches for key in branch.scheduled}
    buffers = {name: value for name, value in moving(task).items() if id(value) not in scheduled}
    tensors = {name: _of_run(task, value, run) for name, value in {**values, **buffers}.items()}
    return {**files, PARAMETERS: save(tensors)} if tensors else files


@torch.no_grad()
def restore(task: Task, folder: Path) -> None:
    """Put what ``kept_files`` has kept of one run into a task of that run alone.

    Raises ``UserError`` where the folder does not hold it, or holds that of another model.
    """
    model = pretrained(task.model)
    if _adapted(model):
        adapters.load(model, folder / ADAPTERS)
    elsewhere = {id(p) for p in model.parameters()} if _adapted(model) else set()
    here = {**trained(task), **moving(task)}
    due = {name: value for name, value in here.items() if id(value) not in elsewhere}
    found = load_file(folder / PARAMETERS) if (folder / PARAMETERS).is_file() else {}
    lacking = [name for name, p in trained(task).items() if id(p) not in elsewhere and name not in found]
    if lacking:
        raise UserError(
            f"{folder} does not hold what was trained ({lacking[0]} is missing): run it again with "
            f"--keep adapters --force, and the record keeps it."
        )
    for name, value in found.items():
        if name not in due or due[name].numel() != value.numel():
            raise UserError(f"{folder / PARAMETERS} holds {name}, which is no part of this protocol's model.")
        due[name].copy_(value.view(due[name].shape))


def _adapted(model: nn.Module) -> bool:
    return any(isinstance(module, Branch) for module in model.modules())


def _of_run(task: Task, value: Tensor, run: int) -> Tensor:
    """The part of one run: of several that train together, the first axis is the run."""
    runs = len(task.method.setting.seeds)
    part = value[run] if runs > 1 and value.ndim and len(value) == runs else value
    return part.detach().cpu().contiguous().clone()
