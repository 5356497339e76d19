"""Jobs with all that another process needs to carry them out, as a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from clipbench.data.user import UserData
from clipbench.errors import UserError
from clipbench.files import write_json
from clipbench.launch.launcher import Options
from clipbench.models.weights.sources import Sources
from clipbench.results.job import Job


@dataclass(frozen=True)
class Work:
    """Jobs, and the paths behind the names in them.

    Attributes:
        jobs: In the order in which they should begin.
        results: The results folder, whose locks divide the jobs among the processes that share it.
        data_root: The folder of the data sets.
        sources: Files behind a backbone's or its weights' name.
        user_data: The user's own data sets, by their names in protocols.
        options: How to carry the jobs out.
    """

    jobs: Sequence[Job]
    results: Path
    data_root: Path
    sources: Sources = field(default_factory=Sources)
    user_data: Mapping[str, UserData] = field(default_factory=dict)
    options: Options = field(default_factory=Options)

    def write(self, path: Path) -> Path:
        """As JSON, with absolute paths."""
        values = {
            "jobs": [job.to_json() for job in self.jobs],
            "results": _text(self.results),
            "data_root": _text(self.data_root),
            "sources": {"config": _text(self.sources.config), "weights": _text(self.sources.weights)},
            "user_data": {
                name: {key: _text(value) for key, value in asdict(data).items()}
                for name, data in self.user_data.items()
            },
            "options": asdict(self.options),
        }
        return write_json(path, values)

    @classmethod
    def read(cls, path: Path) -> Work:
        """Read back. Raises ``UserError`` for a file that holds no work."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                jobs=[Job.from_json(job) for job in values["jobs"]],
                results=Path(values["results"]),
                data_root=Path(values["data_root"]),
                sources=Sources(**_paths(values["sources"])),
                user_data={name: UserData(**_paths(data)) for name, data in values["user_data"].items()},
                options=Options(**values["options"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            said = f"{type(error).__name__}: {error}"
            raise UserError(
                f"{path} holds no jobs of clipbench ({said}). `clipbench run ... --write-jobs FILE` makes one."
            ) from None


def _text(path: Any) -> Any:
    return str(path.absolute()) if isinstance(path, Path) else path


def _paths(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: None if value is None else Path(value) for key, value in values.items()}
