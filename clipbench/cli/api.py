"""What ``import clipbench`` offers to a program: run tables, and read the records as a table."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

from clipbench.cli.parser import build_parser
from clipbench.cli.records import records_of
from clipbench.errors import UserError
from clipbench.plan.filters import as_words
from clipbench.results.record import Record

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Results(Sequence[Record]):
    """The records of some runs, oldest first."""

    records: Sequence[Record]

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, at: int) -> Record: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Record]: ...

    def __getitem__(self, at: int | slice) -> Record | Sequence[Record]:
        return self.records[at]

    def to_pandas(self) -> pd.DataFrame:
        """One line per run: id, seed, the cell that asked for it, every protocol field, metrics, and cost."""
        import pandas as pd

        return pd.DataFrame([_line(record) for record in self.records])


class Options(TypedDict, total=False):
    """Options of ``run``: those of ``clipbench run``, with underscores."""

    smoke: bool
    """Generated images and a tiny model: minutes, and no number that means anything."""
    seeds: Sequence[int]
    """Instead of the paper's number of repetitions."""
    data: str | Path
    """The folder above the data sets; ``$CLIPBENCH_DATA`` or ``./data`` without it."""
    dataset_dir: str | Path
    """Images of your own, a folder per class, in place of the table's columns."""
    split_file: str | Path
    """How those are split: CoOp's JSON, or CSV with file, class, part."""
    method: str
    """``"file.py:Class"``: a method of your own, with rows of its own."""
    assume: Mapping[str, str]
    """Another choice for an assumption: ``{"scaling": "alpha"}``."""
    set: Mapping[str, object]
    """Any field of the protocol: ``{"lr": 1e-3, "crop_scale": (0.5, 1)}``."""
    limit: int
    """Images per class and split at most."""
    epochs: int
    """Passes over the training images."""
    batch_size: int
    """Images per step."""
    backbone: str | Path
    """Name of a model, or an open_clip config file."""
    weights: str | Path
    """Their tag, ``"random"``, or a safetensors or torch file."""
    precision: Literal["fp32", "bf16", "fp16", "fp16-weights"]
    """Arithmetic of the forward pass."""
    device: str
    """``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"auto"`` (default)."""
    devices: str | Sequence[str]
    """A process on each of several: ``["cuda:0", "cuda:1"]``, ``"all"``, ``"cpu:2"``."""
    products: Literal["auto", "onednn", "pytorch"]
    """Who takes large float32 products on a CPU; the faster one without it."""
    compile: bool
    """Compile transformer blocks with ``torch.compile``."""
    replicas: int
    """Seeds trained in one pass at most; all that fit without it."""
    launcher: Literal["local", "slurm"]
    """Who carries the jobs out."""
    slurm: Mapping[str, object]
    """``{"partition": "gpu", "time": 240}`` (minutes)."""
    wait: bool
    """Stay until the runs of other processes are done."""
    log: Literal["csv", "tensorboard", "wandb"]
    """Where curves go while runs train."""
    keep: Sequence[Literal["adapters"]]
    """Beside each record all that was trained, for ``clipbench evaluate``: ``["adapters"]``."""
    force: bool
    """Run again what is there; the old record is set aside."""


def run(
    *tables: str, only: Mapping[str, object] | None = None, out: str | Path = ".", **options: Unpack[Options]
) -> Results:
    """Run tables and give the records of what was asked for; what is there already is not run again.

    The tables and figures are written too, below ``out``, as ``clipbench run`` does.

    Args:
        tables: Names of tables, figures or papers: ``"clip-dora/table1"``, ``"lora-clip"``.
        only: Which runs, by the keys of ``--only``: ``{"dataset": "dtd", "shots": [1, 4]}``; several values are
            alternatives, several keys must all hold.
        out: Folder of ``results/``, ``tables/`` and ``figures/``.
        options: See ``Options``.

    Raises:
        UserError: For wrong options, where data or weights are missing, and where a run failed. What was run by then
            is in ``out``: ``load_results`` gives it.
    """
    from clipbench.cli.run import execute, shortfalls
    from clipbench.cli.selection import select

    words = ["run", *tables, "--out", str(out), "--json"]
    for word in as_words(only or {}):
        words += ["--only", word]
    for name, value in options.items():
        words += _option(name, value)
    arguments = _parsed(words)
    selection = select(arguments)
    arguments.tables = selection.tables
    done = execute(arguments, selection)
    if done.exit_code:
        raise UserError(" ".join(shortfalls(done)))
    ids = {planned.run.id for planned in selection.plan.runs}
    return Results([record for record in selection.store.scan()[0] if record.id in ids])


def load_results(folder: str | Path) -> Results:
    """The records of an output folder, or of a folder of results.

    Raises:
        UserError: Where there is no such folder. Directories that are no whole records are named on standard error.
    """
    return Results(records_of(Path(folder)))


def _parsed(words: Sequence[str]) -> Any:
    """The options as ``clipbench run`` reads them. Raises ``UserError`` instead of ending the process."""
    try:
        return build_parser().parse_args(words)
    except SystemExit:
        raise UserError(f"`clipbench {' '.join(words)}` has a wrong option; see `clipbench run --help`.") from None


def _option(name: str, value: object) -> list[str]:
    """One keyword as words of the command line; None and False leave it out."""
    option = f"--{name.replace('_', '-')}"
    if value is None or value is False:
        return []
    if value is True:
        return [option]
    if isinstance(value, Mapping):
        return [word for key, one in value.items() for word in (option, f"{key}={_listed(one)}")]
    return [option, _listed(value)]


def _listed(value: object) -> str:
    if isinstance(value, str | os.PathLike) or not isinstance(value, Iterable):
        return str(value)
    return ",".join(str(one) for one in value)


def _line(record: Record) -> dict[str, object]:
    origin = record.origin
    where = {"id": record.id, "seed": record.seed, "table": origin.experiment, "row": origin.row}
    names = {"column": origin.column, "finished": record.finished, "device": record.environment.device}
    return {**where, **names, **record.protocol.as_dict(), **record.metrics, **asdict(record.cost)}
