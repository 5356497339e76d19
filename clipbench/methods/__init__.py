"""Methods by name. A method says what is trained; it loads no data, loops over nothing and knows no optimiser step.

Adding one: write a file with a class like those here, and add its line to the mapping. One from outside needs no line:
``--method package.module:Class``.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipbench.errors import UserError
from clipbench.methods.fault import refused_exits
from clipbench.registry import FIELDS
from clipbench.registry.method_fields import Declared, check_declared, declare

if TYPE_CHECKING:
    from clipbench.methods.base import Method

METHODS: Mapping[str, str] = {
    "zero-shot": "clipbench.methods.zero_shot:ZeroShot",
    "linear-probe": "clipbench.methods.linear_probe:LinearProbe",
    "lora": "clipbench.methods.low_rank:LoRA",
    "dora": "clipbench.methods.low_rank:DoRA",
    "lora+": "clipbench.methods.lora_plus:LoRAPlus",
    "vera": "clipbench.methods.vera:VeRA",
    "dylora": "clipbench.methods.dylora:DyLoRA",
    "adalora": "clipbench.methods.adalora:AdaLoRA",
    "qlora": "clipbench.methods.qlora:QLoRA",
    "laplace-lora": "clipbench.methods.laplace_lora:LaplaceLoRA",
    "text-head": "clipbench.methods.text_head:TextHead",
    "federated-lora": "clipbench.methods.federated:FederatedLoRA",
    "full": "clipbench.methods.full:FullTuning",
    "full-affine": "clipbench.methods.full_affine:FullAffine",
    "eam": "clipbench.methods.eam:TwoStageMixup",
    "emscnet": "clipbench.methods.emscnet:EMSCNet",
    "coop": "clipbench.methods.coop:CoOp",
    "cocoop": "clipbench.methods.cocoop:CoCoOp",
    "kgcoop": "clipbench.methods.kgcoop:KgCoOp",
    "prograd": "clipbench.methods.prograd:ProGrad",
    "plot++": "clipbench.methods.plotpp:PLOTpp",
    "tip-adapter": "clipbench.methods.tip_adapter:TipAdapter",
    "tip-adapter-f": "clipbench.methods.tip_adapter:TipAdapterF",
    "clip-adapter": "clipbench.methods.clip_adapter:CLIPAdapter",
    "taskres": "clipbench.methods.taskres:TaskRes",
    "maple": "clipbench.methods.maple:MaPLe",
    "promptsrc": "clipbench.methods.promptsrc:PromptSRC",
    "openmax": "clipbench.methods.openmax:OpenMax",
    "osda-bp": "clipbench.methods.osda:OSDA",
    "clipn": "clipbench.methods.clipn:CLIPN",
}


@dataclass(frozen=True)
class OwnMethod:
    """A user's method: its row's label, the protocol fields that it declares and sets, and its name in the protocol.

    The name ends with a digest of the class's file: a changed method is another method, and gets other records.
    """

    name: str
    label: str
    declared: Declared
    protocol: Mapping[str, Any]


def method(name: str) -> Method:
    """The method of that name. Raises ``UserError`` that lists the names, or says why one cannot be imported."""
    kind = _class_of(name.partition("@")[0])
    with refused_exits():
        made: Method = kind()
    return made


def is_own(name: str | None) -> bool:
    """Whether a protocol's method is a user's, by its import path."""
    return name is not None and ":" in name


def importable(name: str) -> str:
    """``my/mine.py:Mine`` as ``mine:Mine``, its folder put where Python (and the processes that it starts) look.

    Raises ``UserError`` where there is no such file, or a library's module has its name.
    """
    file, _, attribute = name.rpartition(":")
    if not file.endswith(".py"):
        return name
    path = Path(file).resolve()
    if not path.is_file():
        raise UserError(f"--method {name}: there is no file {file}.")
    sys.path.append(str(path.parent))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(path.parent)]))
    found = importlib.util.find_spec(path.stem)
    if found is None or found.origin is None or Path(found.origin).resolve() != path:
        raise UserError(f"--method {name}: another module is called {path.stem}; give the file another name.")
    return f"{path.stem}:{attribute}"


def own_method(name: str) -> OwnMethod:
    """A user's method by its import path ``package.module:Class``."""
    if not is_own(name):
        raise UserError(f"--method {name}: a method of your own is named FILE.py:Class or package.module:Class.")
    kind = _class_of(name)
    source = Path(inspect.getfile(kind)).read_bytes()
    label = getattr(kind, "label", None) or kind.__name__
    declared = Declared(
        kind.fields,
        kind.uses,
        kind.gradient_through,
        kind.prompts_per_image,
        kind.image_copies,
        kind.prompt_copies,
    )
    check_declared(f"--method {name}", declared, FIELDS)
    declare(name, declared)
    return OwnMethod(f"{name}@{hashlib.sha256(source).hexdigest()[:12]}", label, declared, kind.protocol)


def _class_of(name: str) -> Any:
    path = METHODS.get(name, name)
    module_name, _, attribute = path.partition(":")
    if not attribute:
        raise UserError(f"no method {name!r}; there are {', '.join(METHODS)}, and package.module:Class of your own.")
    kind = getattr(_module(module_name, name), attribute, None)
    from clipbench.methods.base import Method

    if kind is Method:
        raise UserError(f"--method {name}: that is the class of all methods; derive one of your own from it.")
    if not (isinstance(kind, type) and issubclass(kind, Method)):
        raise UserError(
            f"--method {name}: {module_name} has no class {attribute} that derives from clipbench's Method."
        )
    return kind


def _module(module_name: str, name: str) -> Any:
    # The console script does not look into the current folder, where a user's method lies, as `python -m` does. The
    # folder comes last: a file there that is called like a library's module (h2.py, token.py) must not be run instead.
    if name not in METHODS and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        with refused_exits():
            return importlib.import_module(module_name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"--method {name}: the module {module_name} cannot be imported ({reason}).") from error
