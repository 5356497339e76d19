"""QLoRA: LoRA over a base in 4 bits (Dettmers et al., NeurIPS 2023); the arithmetic is `clipbench.adapters.nf4`'s."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from clipbench.adapters.errors import AdapterError
from clipbench.adapters.kinds.base import Defaults
from clipbench.adapters.kinds.low_rank import LoRA


@dataclass(frozen=True)
class QLoRAOptions:
    """QLoRA's options.

    Attributes:
        double: Quantise the blocks' scales too.
    """

    double: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.double, bool):
            raise AdapterError(f"AdapterConfig: options: double = {self.double!r} must be True or False.")


class QLoRA(LoRA):
    """LoRA; its host keeps the frozen matrix in NF4."""

    defaults: ClassVar[Defaults] = Defaults(64, 16.0, "alpha/r", 2e-4, "artidoro/qlora ``qlora.py`` 165-209")
    Options: ClassVar[type[Any]] = QLoRAOptions
    quantised: ClassVar[bool] = True
