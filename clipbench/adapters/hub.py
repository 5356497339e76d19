"""Adapters on the Hugging Face Hub, each with a model card that says what it was trained on and what it reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from torch import nn

from clipbench.adapters.errors import AdapterError
from clipbench.adapters.files import load, save
from clipbench.adapters.peft_format import CONFIG
from clipbench.adapters.report import summary

_STEM = "adapter"


@dataclass(frozen=True)
class Card:
    """What the model card states beside what the adapter itself says.

    Attributes:
        base: The base model and its weights, as somebody else gets them: ``ViT-B-16-quickgelu, openai``.
        data: What it was trained on.
        numbers: What it reached, by what was measured: ``{"accuracy on the test split (%)": 93.1}``.
        record: Where the run's record is, or its id; empty for none.
        license: The adapter's licence, by the Hub's word.
    """

    base: str
    data: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    record: str = ""
    license: str = "apache-2.0"


def push_to_hub(
    model: nn.Module,
    repo_id: str,
    card: Card,
    *,
    replica: int | None = None,
    format: Literal["clipbench", "peft"] = "clipbench",  # noqa: A002
    private: bool = False,
    api: Any = None,
) -> str:
    """Put one replica of the active adapters, and what was trained beside them, into a repository of the Hub.

    Args:
        model: An adapted model.
        repo_id: ``user/name``; made if it is not there.
        card: What the model card states.
        replica: Which replica; may be left out when there is only one.
        format: As in `save`.
        private: Whether a new repository is private.
        api: A ``huggingface_hub.HfApi``; None for one with the user's token.

    Returns:
        The address of the commit.

    Raises:
        AdapterError: No adapters or replica, the Hub's client is not installed, or the Hub refuses.
    """
    hub = _client()
    with TemporaryDirectory() as folder:
        target = Path(folder) / _STEM if format == "clipbench" else Path(folder)
        save(model, target, replica, format)
        (Path(folder) / "README.md").write_text(_readme(model, repo_id, card, format), encoding="utf-8")
        client = api or hub.HfApi()
        try:
            client.create_repo(repo_id, private=private, exist_ok=True)
            commit = client.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Adapter")
        except (OSError, ValueError) as error:
            raise AdapterError(f"push_to_hub: {repo_id} was not written: {error}") from error
    return str(getattr(commit, "commit_url", commit))


def from_pretrained(
    model: nn.Module, repo_id: str, *, revision: str | None = None, replica: int | None = None, api: Any = None
) -> nn.Module:
    """`load` the adapters of a repository of the Hub, ours or peft's, into `model`.

    Args:
        model: The base model that they were trained on.
        repo_id: ``user/name``, or a folder.
        revision: Branch, tag or commit.
        replica: As in `load`.
        api: A ``huggingface_hub.HfApi``; None for one with the user's token.

    Returns:
        The same object.

    Raises:
        AdapterError: As `load`; or the repository cannot be had, or holds no adapter.
    """
    folder = Path(repo_id)
    if not folder.is_dir():
        client = api or _client().HfApi()
        patterns = [f"{_STEM}.*", "adapter_config.json", "adapter_model.safetensors"]
        try:
            folder = Path(client.snapshot_download(repo_id, revision=revision, allow_patterns=patterns))
        except (OSError, ValueError) as error:
            raise AdapterError(f"from_pretrained: {repo_id} cannot be had from the Hub: {error}") from error
    return load(model, folder if (folder / CONFIG).is_file() else folder / _STEM, replica)


def _client() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise AdapterError("The Hub needs its client: pip install huggingface_hub.") from error
    return huggingface_hub


def _readme(model: nn.Module, repo_id: str, card: Card, kind: str) -> str:
    rows = [f"| {what} | {number:g} |" for what, number in card.numbers.items()]
    numbers = "\n".join(["| measured | value |", "|---|---|", *rows]) if rows else "No numbers are stated."
    library = "peft" if kind == "peft" else "clipbench"
    use = (
        f'from clipbench.adapters.hub import from_pretrained\n\nfrom_pretrained(model, "{repo_id}")'
        if kind == "clipbench"
        else f'from peft import PeftModel\n\nPeftModel.from_pretrained(model, "{repo_id}")'
    )
    return f"""---
library_name: {library}
license: {card.license}
tags: [adapter, {library}]
---

# {repo_id}

* Base model: {card.base}
* Trained on: {card.data}
* Record: {card.record or "none"}

{numbers}

```
{summary(model)}
```

```python
{use}
```
"""
