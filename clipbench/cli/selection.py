"""What ``run`` and ``plan`` are asked for: the runs, the data, and the files behind names."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from clipbench.data.images import default_data_root
from clipbench.data.load import Datasets
from clipbench.errors import UserError
from clipbench.models import TINY, image_size
from clipbench.models.weights.sources import Sources, named_config, named_weights
from clipbench.plan.choices import ALL, plan_choices
from clipbench.plan.outlook import Machine, Outlook
from clipbench.plan.present import Present
from clipbench.plan.select import Plan, make_plan
from clipbench.plan.user import Additions, additions
from clipbench.registry import Overrides
from clipbench.registry.find import which
from clipbench.registry.protocol import field_of
from clipbench.results.store import Store


@dataclass(frozen=True)
class Selection:
    """The plan of a command line, the tables that it names and those that it passes over, and what else it says."""

    plan: Plan
    tables: list[str]
    passed_over: list[str]
    said: list[str]
    added: Additions
    datasets: Datasets
    sources: Sources
    store: Store

    def outlook(self, device: str) -> tuple[list[Outlook], Present]:
        """What each run would do on a device of that kind."""
        present = Present(self.store, self.datasets)
        return Machine(self.datasets, device, self.sources).outlook(self.plan, present), present


def select(arguments: argparse.Namespace) -> Selection:
    """Read the options of ``run`` or ``plan``. Raises ``UserError`` on wrong ones."""
    said = which(arguments.tables)
    overrides, sources = _overrides(arguments)
    added = additions(arguments.dataset_dir, arguments.method, arguments.split_file)
    tables, passed_over = added.fitting(arguments.tables)
    if ALL in arguments.assume:
        if added.methods or added.own:
            raise UserError("--assume all runs the paper's own tables; it takes no --method and no --dataset-dir.")
        plan = plan_choices(tables, overrides, arguments.only, arguments.seeds)
    else:
        plan = make_plan(tables, overrides, arguments.only, arguments.seeds, added.apply)
    datasets = Datasets(arguments.data or default_data_root(), added.own)
    store = Store(arguments.out / "results")
    return Selection(plan, tables, passed_over, said, added, datasets, sources, store)


def device_of(word: str) -> tuple[Any, str]:
    """The device of that name, and its kind (``cpu``, ``cuda``, ``mps``). PyTorch is imported here.

    Raises ``UserError`` for one that is not there.
    """
    from clipbench.engine.device import pick_device

    if word.startswith("cpu:"):
        raise UserError(f"no device is called {word!r}: a machine has one, --device cpu.")
    device = pick_device(word)
    return device, str(device.type)


def _overrides(arguments: argparse.Namespace) -> tuple[Overrides, Sources]:
    """Protocol fields that the options set, and the files behind their names."""
    config, backbone = named_config(arguments.backbone)
    weights_file, weights = named_weights(arguments.weights)
    fields: dict[str, Any] = {
        "limit": arguments.limit,
        "epochs": arguments.epochs,
        "batch_size": arguments.batch_size,
        "precision": arguments.precision,
        "backbone": backbone,
        "weights": weights or ("embedded" if backbone == TINY else None),
    }
    if backbone is not None:
        fields["image_size"] = image_size(backbone, config)
        if config is not None and weights is None:
            raise UserError(
                f"{arguments.backbone} is a config of your own: name its weights too, --weights FILE or random."
            )
    pairs = (_pair(word, "--set takes field=value") for word in arguments.set)
    put = {name: field_of(name).parsed(text) for name, text in pairs}
    given = {name: field_of(name).checked(value) for name, value in fields.items() if value is not None}
    if ALL in arguments.assume and len(arguments.assume) > 1:
        raise UserError("--assume all runs every choice one at a time; it takes no other --assume beside it.")
    words = [word for word in arguments.assume if word != ALL]
    assume = dict(_pair(word, "--assume takes assumption=choice, or all") for word in words)
    return Overrides("smoke" if arguments.smoke else "full", assume, put | given), Sources(config, weights_file)


def _pair(word: str, what: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals or not value.strip():
        raise UserError(f"{what}, not {word!r}; `clipbench show TABLE --protocol` lists them.")
    return key, value
