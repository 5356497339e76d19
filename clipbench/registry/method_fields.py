"""Which protocol fields a method declares (``fields``) and reads (``uses``), without importing it or PyTorch.

Our methods' classes are read as text; a user's class says it when it is imported for ``--method``.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from clipbench.errors import UserError
from clipbench.registry.field import Field

_FOLDER = Path(__file__).parents[1] / "methods"


@dataclass(frozen=True)
class Declared:
    """What a method's class says: its own fields, the shared ones that it reads, and what its training costs.

    ``gradient_through`` are the towers that a gradient passes through; ``prompts_per_image``: each image has prompts
    of its own. ``image_copies`` and ``prompt_copies`` name protocol fields: how often each image passes (a number), and
    the prompts of each class (texts with | between them).
    """

    fields: Sequence[Field] = ()
    uses: Sequence[str] = ()
    gradient_through: str = ""
    prompts_per_image: bool = False
    image_copies: str = ""
    prompt_copies: str = ""

    def field(self, name: str) -> Field | None:
        """Its own field of that name."""
        return next((f for f in self.fields if f.name == name), None)


_IMPORTED: dict[str, Declared] = {}
"""Users' methods that this process has imported, by ``module:Class``."""


def declare(method: str, declared: Declared) -> None:
    """Make the fields of a user's imported class known."""
    _IMPORTED[method.partition("@")[0]] = declared


def declared_by(method: str | None) -> Declared | None:
    """What a method declares; None for one that is not known here (a user's of another time, one that is to come)."""
    name = (method or "").partition("@")[0]
    if name in _IMPORTED:
        return _IMPORTED[name]
    return _ours().get(name)


def own_field(name: str) -> Field | None:
    """The field of that name that some method declares for itself."""
    found = (d.field(name) for d in (*_IMPORTED.values(), *_ours().values()))
    return next((f for f in found if f is not None), None)


@cache
def _ours() -> Mapping[str, Declared]:
    """Every method that is named in ``clipbench.methods``."""
    methods: Mapping[str, str] = {}
    for file in sorted(_FOLDER.glob("*.py")):
        methods = _Module.read(file).names.get("METHODS", methods)
    return {name: _class(path) for name, path in methods.items()}


def _class(path: str) -> Declared:
    module, _, name = path.partition(":")
    found = _Module.read(_FOLDER / f"{module.rpartition('.')[2]}.py").attributes(name)
    return Declared(
        tuple(found.get("fields", ())),
        tuple(found.get("uses", ())),
        str(found.get("gradient_through", "")),
        bool(found.get("prompts_per_image", False)),
        str(found.get("image_copies", "")),
        str(found.get("prompt_copies", "")),
    )


class _Module:
    """The constants of one file of ``clipbench/methods/``, as far as they can be read without running it."""

    def __init__(self, tree: ast.Module) -> None:
        self._classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        self._imports = {
            alias.asname or alias.name: str(node.module)
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("clipbench.methods.")
            for alias in node.names
        }
        self.names: dict[str, Any] = {}
        self.names |= self._assigned(tree.body)

    @classmethod
    @cache
    def read(cls, file: Path) -> _Module:
        return cls(ast.parse(file.read_text(encoding="utf-8")))

    def attributes(self, name: str) -> dict[str, Any]:
        """The class attributes that can be read, with those of its bases."""
        if name not in self._classes:
            module = self._imports.get(name)
            return _Module.read(_FOLDER / f"{module.rpartition('.')[2]}.py").attributes(name) if module else {}
        node = self._classes[name]
        found: dict[str, Any] = {}
        for base in reversed(node.bases):
            found |= self.attributes(base.id) if isinstance(base, ast.Name) else {}
        return found | self._assigned(node.body)

    def _assigned(self, body: Sequence[ast.stmt]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for node in body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            value = getattr(node, "value", None)
            for target in targets:
                if isinstance(target, ast.Name) and value is not None:
                    try:
                        found[target.id] = self._value(value, found)
                    except (KeyError, TypeError, ValueError):
                        continue
        return found

    def _value(self, node: ast.expr, near: Mapping[str, Any]) -> Any:
        """The value of an expression of literals, names, ``Class.attribute``, sums and ``Field(...)``."""
        match node:
            case ast.Tuple() | ast.List():
                found: Any = tuple(x for item in node.elts for x in self._items(item, near))
            case ast.Dict():
                keys = [self._value(k, near) for k in node.keys if k is not None]
                found = dict(zip(keys, (self._value(v, near) for v in node.values), strict=True))
            case ast.Name():
                found = near[node.id] if node.id in near else self._named(node.id)
            case ast.Attribute(value=ast.Name(id=name)):
                found = self.attributes(name)[node.attr]
            case ast.BinOp(op=ast.Add()):
                found = self._value(node.left, near) + self._value(node.right, near)
            case ast.Call(func=ast.Name(id="Field")):
                keywords = {k.arg: self._value(k.value, near) for k in node.keywords if k.arg}
                found = Field(*(self._value(a, near) for a in node.args), **keywords)
            case _:
                found = ast.literal_eval(node)
        return found

    def _items(self, node: ast.expr, near: Mapping[str, Any]) -> Sequence[Any]:
        return self._value(node.value, near) if isinstance(node, ast.Starred) else (self._value(node, near),)

    def _named(self, name: str) -> Any:
        types = {"bool": bool, "int": int, "float": float, "str": str, "tuple": tuple}
        if name in types:
            return types[name]
        if name in self._imports:
            module = self._imports[name].rpartition(".")[2]
            return _Module.read(_FOLDER / f"{module}.py").names[name]
        return self.names[name]


def check_declared(method: str, declared: Declared, shared: Sequence[str]) -> None:
    """Raise ``UserError`` where a class declares a shared field as its own, or uses one that is none."""
    if not isinstance(declared.uses, list | tuple) or not isinstance(declared.fields, list | tuple):
        raise UserError(f"{method}: fields is a tuple of Field(...), and uses a tuple of names of protocol fields.")
    for field in declared.fields:
        if not isinstance(field, Field) or not str(field.name).isidentifier():
            raise UserError(f"{method}: its fields must be Field(name, type, meaning), not {field!r}.")
        if field.name in shared:
            raise UserError(f"{method}: {field.name} is a shared protocol field; name it in uses, not in fields.")
    unknown = [name for name in declared.uses if name not in shared]
    if unknown:
        raise UserError(
            f"{method}: uses names {unknown[0]!r}, which is no shared protocol field; declare it in fields."
        )
