"""``clipbench run``: plan, check what is there, train what is missing, write the tables and figures."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tabulate import tabulate

from clipbench.cli.user_data import about_own, about_unfit, next_command
from clipbench.data.images import default_data_root
from clipbench.data.load import Datasets
from clipbench.data.progress import duration
from clipbench.errors import UserError
from clipbench.models import TINY, image_size
from clipbench.models.weights.sources import Sources, named_config, named_weights
from clipbench.plan.choices import ALL, plan_choices
from clipbench.plan.select import Plan, Planned, make_plan
from clipbench.plan.user import Extension, extension
from clipbench.registry import Overrides
from clipbench.registry.find import which
from clipbench.registry.protocol import field_of
from clipbench.results.store import Store

if TYPE_CHECKING:
    from clipbench.launch.launcher import Summary
    from clipbench.plan.present import Present


Missing: TypeAlias = Mapping[tuple[str, bool], str]
"""What is wrong with a data set, by its name and whether the test part is all that is wanted of it."""


def main(arguments: argparse.Namespace) -> int:
    """Run; 0 if everything is there or being made elsewhere, 1 if a run failed, 2 if data or weights are missing."""
    overrides, sources = _overrides(arguments)
    added = extension(arguments.dataset_dir, arguments.method, arguments.split_file)
    named = which(arguments.tables)
    arguments.tables, unfit = added.fitting(arguments.tables)
    plan = _plan(arguments, overrides, added)
    data_root = arguments.data or default_data_root()
    datasets = Datasets(data_root, added.own)
    missing = _missing(plan, datasets)
    readable = {name: folder for name, folder in added.own.items() if name not in _by_dataset(missing)}
    _say(
        arguments,
        [
            *named,
            *about_unfit(unfit, own_data=bool(added.own)),
            *about_own(plan, readable),
            *_unpublished(plan, datasets, missing),
        ],
    )
    store = Store(arguments.out / "results")
    if arguments.dry_run:
        return _dry_run(arguments, plan, store, missing, datasets)
    if not plan.runs:
        raise UserError(_nothing(plan))
    todo = Plan(overrides, [p for p in plan.runs if _needs(p) not in missing], plan.gaps)
    if not todo.runs:
        raise UserError("\n".join(dict.fromkeys(missing.values())))
    summary = _carry_out(arguments, todo, store, datasets, sources)
    written = _write_reports(arguments, added)
    if arguments.json:
        print(
            json.dumps(
                asdict(summary) | {"missing_data": _by_dataset(missing), "written": [str(p) for p in written]}, indent=1
            )
        )
    else:
        _tell(arguments, plan, summary, missing, written)
    return 2 if missing or summary.missing_weights else 1 if summary.failed else 0


def _say(arguments: argparse.Namespace, lines: Sequence[str]) -> None:
    """Sentences before the runs; beside the standard output where that is JSON."""
    for line in lines:
        print(line, file=sys.stderr if arguments.json else sys.stdout, flush=True)


def _needs(planned: Planned) -> tuple[str, bool]:
    """The data set, and whether (as zero-shot does) the run needs its test part only."""
    return planned.run.protocol.need("dataset"), planned.run.protocol.shots == 0


def _missing(plan: Plan, datasets: Datasets) -> Missing:
    asked = {_needs(p): p.run.protocol for p in plan.runs}
    found = {key: datasets.check([protocol]) for key, protocol in asked.items()}
    return {key: paragraph for key, missing in found.items() for paragraph in missing.values()}


def _unpublished(plan: Plan, datasets: Datasets, missing: Missing) -> list[str]:
    """A sentence for each split file and class list that is not the published one."""
    protocols = {_needs(p): p.run.protocol for p in plan.runs if _needs(p) not in missing}
    said = (line for protocol in protocols.values() for line in datasets.images(protocol).unpublished)
    return [f"{line}. Its numbers cannot be compared with printed ones." for line in dict.fromkeys(said)]


def _by_dataset(missing: Missing) -> dict[str, str]:
    return {dataset: paragraph for (dataset, _), paragraph in missing.items()}


def _plan(arguments: argparse.Namespace, overrides: Overrides, added: Extension) -> Plan:
    if ALL in arguments.assume:
        if added.methods or added.own:
            raise UserError("--assume all runs the paper's own tables; it takes no --method and no --dataset-dir.")
        return plan_choices(arguments.tables, overrides, arguments.only, arguments.seeds)
    return make_plan(arguments.tables, overrides, arguments.only, arguments.seeds, added.apply)


def _carry_out(
    arguments: argparse.Namespace, plan: Plan, store: Store, datasets: Datasets, sources: Sources
) -> Summary:
    """PyTorch is imported here, after everything that can be wrong without it."""
    from clipbench.engine.context import Context
    from clipbench.engine.device import pick_device
    from clipbench.launch.launcher import Options
    from clipbench.launch.local import Local
    from clipbench.plan.jobs import jobs_of

    context = Context(
        datasets.data_root,
        pick_device(arguments.device),
        store.root / ".checkpoints",
        sources,
        datasets.user_data,
        datasets=datasets,
    )
    return Local().launch(jobs_of(plan), store, context, Options(arguments.replicas, arguments.force))


def _write_reports(arguments: argparse.Namespace, added: Extension) -> list[Path]:
    from clipbench.report.write import write_figures, write_tables

    profile = "smoke" if arguments.smoke else "full"
    if added.own:
        return write_tables(arguments.tables, arguments.out, profile, added.apply)
    everything = [f"{paper}/*" for paper in _papers(arguments)]
    tables = write_tables(added.fitting(everything)[0], arguments.out, profile, added.apply)
    return [*tables, *write_figures(everything, arguments.out, profile)]


def _papers(arguments: argparse.Namespace) -> list[str]:
    from clipbench.registry import find

    return list(dict.fromkeys(paper.id for paper, _ in find(arguments.tables)))


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
    fields = put | {name: value for name, value in fields.items() if value is not None}
    if ALL in arguments.assume and len(arguments.assume) > 1:
        raise UserError("--assume all runs every choice one at a time; it takes no other --assume beside it.")
    words = [word for word in arguments.assume if word != ALL]
    assume = dict(_pair(word, "--assume takes assumption=choice, or all") for word in words)
    return Overrides("smoke" if arguments.smoke else "full", assume, fields), Sources(config, weights_file)


def _pair(word: str, what: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals:
        raise UserError(f"{what}, not {word!r}; `clipbench show TABLE --protocol` lists them.")
    return key, value


def _nothing(plan: Plan) -> str:
    if not plan.gaps:
        return "there is nothing to run in this selection: its numbers are quoted or computed from others."
    reasons = sorted({gap.reason for gap in plan.gaps})
    return f"none of the {len(plan.gaps)} cells of this selection can run yet: {'; '.join(reasons)}."


def _dry_run(arguments: argparse.Namespace, plan: Plan, store: Store, missing: Missing, datasets: Datasets) -> int:
    """The plan: what is there, what would run, what it costs, and what is missing."""
    from clipbench.plan.cost import estimate
    from clipbench.plan.present import Present

    present = Present(store, datasets)
    there = {p.run.id for p in plan.runs if present.has(p.run)}
    lines = [_planned(p, _state(p, there, present, missing)) for p in plan.runs]
    todo = [p for p in plan.runs if p.run.id not in there]
    cost = estimate([p.run.protocol for p in todo], store, datasets)
    if arguments.json:
        gaps = [
            {"experiment": g.experiment.id, "row": g.cell.row.id, "column": g.cell.column.id, "reason": g.reason}
            for g in plan.gaps
        ]
        print(
            json.dumps(
                {"runs": lines, "cost": asdict(cost), "missing_data": _by_dataset(missing), "not_runnable": gaps},
                indent=1,
            )
        )
        return 0
    shown = [(x["experiment"], x["row"], x["place"], x["seed"], x["id"], x["state"]) for x in lines]
    print(tabulate(shown, headers=("experiment", "row", "column", "seed", "run", "state"), disable_numparse=True))
    took = f", about {duration(cost.seconds)} on the device of earlier runs" if cost.seconds else ""
    images = f"{cost.train_images:,} training and {cost.test_images:,} test images"
    print(f"\n{len(lines)} runs, {len(there)} there already; the rest passes {images}{took}")
    for reason in sorted({gap.reason for gap in plan.gaps}):
        print(f"not runnable yet: {sum(g.reason == reason for g in plan.gaps)} cells, {reason}")
    for paragraph in dict.fromkeys(missing.values()):
        print(f"missing: {paragraph}")
    return 0


def _state(planned: Planned, there: set[str], present: Present, missing: Missing) -> str:
    if planned.run.id in there:
        return "there"
    if _needs(planned) in missing:
        return "data missing"
    differs = present.outdated.get(planned.run.id)
    return f"to run (there is a record of other data: {differs})" if differs else "to run"


def _planned(planned: Planned, state: str) -> dict[str, Any]:
    return {
        "experiment": planned.experiment.id,
        "row": planned.cell.row.id,
        "column": planned.cell.column.id,
        "place": planned.place,
        "seed": planned.run.seed,
        "id": planned.run.id,
        "state": state,
        "protocol": planned.run.protocol.as_dict(),
    }


def _tell(
    arguments: argparse.Namespace, plan: Plan, summary: Summary, missing: Missing, written: Sequence[Path]
) -> None:
    """What was done, where it lies, and what is next."""
    for path in written:
        if path.suffix == ".md":
            print(f"\n{path.read_text(encoding='utf-8')}")
    folders = sorted({str(p.parent) for p in written})
    made = f"{len(summary.made)} runs made in {duration(summary.seconds)}, {len(summary.there)} were there"
    print(f"{made}. Written: {', '.join(folders) or 'nothing'}.")
    if summary.elsewhere:
        print(f"{len(summary.elsewhere)} runs are being made by another process; run this again when it is done.")
    for reason in dict.fromkeys(summary.failed.values()):
        ids = [run_id for run_id, why in summary.failed.items() if why == reason]
        print(f"{len(ids)} runs failed ({', '.join(ids[:3])}{', ...' if len(ids) > 3 else ''}): {reason}")
    for reason in sorted({gap.reason for gap in plan.gaps}):
        print(f"{sum(g.reason == reason for g in plan.gaps)} cells cannot run yet: {reason}")
    for paragraph in dict.fromkeys(missing.values()):
        print(f"missing: {paragraph}")
    if written:
        print(next_command(arguments))
