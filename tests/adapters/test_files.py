"""Adapters on disk: exact, whole or absent, and refused on a wrong base, rank or shape."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from open_clip.transformer import QuickGELU
from torch import nn

from clipbench.adapters import AdapterConfig, adapt, adapted_modules, load, merge, save
from clipbench.errors import UserError
from tests.adapters.models import images, perturb

CONFIG = AdapterConfig("dora", rank=3, layers="0-1", replicas=2, init_seeds=(4, 5))


@pytest.fixture
def saved(tiny: Callable[[], Any], tmp_path: Path) -> tuple[Any, Path]:
    model = perturb(adapt(tiny(), CONFIG))
    return model, save(model, tmp_path / "pets", replica=1)


def test_what_is_loaded_is_what_was_saved(tiny: Callable[[], Any], saved: tuple[Any, Path], tmp_path: Path) -> None:
    model, path = saved
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pets.json", "pets.safetensors"]
    fresh = load(tiny(), tmp_path / "pets")
    for name, adapter in adapted_modules(fresh).items():
        for key, parameter in adapter.named_parameters():
            assert torch.equal(parameter[0], adapted_modules(model)[name].get_parameter(key)[1])
    x = images(1)
    assert torch.equal(merge(fresh).encode_image(x), merge(model, replica=1).encode_image(x))  # type: ignore[operator]
    assert json.loads(path.with_suffix(".json").read_text())["config"]["init_seeds"] == [5]


def test_a_replica_is_loaded_in_its_place(tiny: Callable[[], Any], saved: tuple[Any, Path]) -> None:
    model = adapt(tiny(), CONFIG)
    before = [adapter.A[0].clone() for adapter in adapted_modules(model).values()]
    load(model, saved[1], replica=1)
    for name, adapter in adapted_modules(model).items():
        assert torch.equal(adapter.B[1], adapted_modules(saved[0])[name].B[1])
    assert all(torch.equal(a, m.A[0]) for a, m in zip(before, adapted_modules(model).values(), strict=True))
    with pytest.raises(UserError, match="Say which one"):
        load(model, saved[1])
    with pytest.raises(UserError, match="Say which one"):
        save(model, saved[1])


def test_another_base_is_refused_and_left_alone(tiny: Callable[[], Any], saved: tuple[Any, Path]) -> None:
    other = tiny()
    other.visual.transformer.resblocks[0].attn.in_proj_weight.data[0, 0] += 1e-3
    with pytest.raises(UserError, match="trained on another base model"):
        load(other, saved[1])
    assert isinstance(other.visual.transformer.resblocks[0].attn, nn.MultiheadAttention)


def test_the_same_weights_with_another_activation_are_refused(tiny: Callable[[], Any], saved: tuple[Any, Path]) -> None:
    other = tiny()
    for block in other.visual.transformer.resblocks:
        assert isinstance(block.mlp.gelu, QuickGELU)
        block.mlp.gelu = nn.GELU()
    with pytest.raises(UserError, match="GELU for QuickGELU"):
        load(other, saved[1])


def test_the_other_axis_is_refused(tiny: Callable[[], Any], saved: tuple[Any, Path], tmp_path: Path) -> None:
    """Where matrices are square, the shapes would not tell."""
    model = adapt(tiny(), replace(CONFIG, norm_axis="input"))
    with pytest.raises(UserError, match="norm_axis is 'output' in the file, 'input' in the model"):
        load(model, saved[1])
    x, path = images(1), save(perturb(model), tmp_path / "columns", replica=0)
    fresh = load(tiny(), path)
    assert torch.equal(merge(fresh).encode_image(x), merge(model, replica=0).encode_image(x))  # type: ignore[operator]


def test_another_rank_is_refused(tiny: Callable[[], Any], saved: tuple[Any, Path]) -> None:
    model = adapt(tiny(), AdapterConfig("dora", rank=4, layers="0-1"))
    with pytest.raises(UserError, match="rank is 3 in the file, 4 in the model"):
        load(model, saved[1])


def _rewrite(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Forge a file and the digest in its JSON."""
    path.write_bytes(safetensors.torch.save(tensors))
    sidecar = json.loads(path.with_suffix(".json").read_text())
    sidecar["tensors_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(sidecar))


def test_another_shape_is_refused(tiny: Callable[[], Any], saved: tuple[Any, Path]) -> None:
    tensors = safetensors.torch.load_file(saved[1])
    name = "visual.transformer.resblocks.0.attn.k.A"
    _rewrite(saved[1], {**tensors, name: tensors[name][:2].contiguous()})
    with pytest.raises(UserError, match=r"resblocks.0.attn.k.A has shape \(2, 32\) in the file and \(3, 32\)"):
        load(tiny(), saved[1])


def test_damage_is_told(tiny: Callable[[], Any], saved: tuple[Any, Path]) -> None:
    path = saved[1]
    data, sidecar = path.read_bytes(), path.with_suffix(".json")
    path.write_bytes(data[:-1])
    with pytest.raises(UserError, match="is damaged"):
        load(tiny(), path)
    path.unlink()
    with pytest.raises(UserError, match=r"there is no .*pets.safetensors"):
        load(tiny(), path)
    sidecar.write_text("{")
    with pytest.raises(UserError, match="is not JSON"):
        load(tiny(), path)
    sidecar.write_text("{}")
    with pytest.raises(UserError, match="does not describe an adapter"):
        load(tiny(), path)
    sidecar.unlink()
    with pytest.raises(UserError, match=r"there is no .*pets.json"):
        load(tiny(), path)


def test_saving_needs_adapters_and_a_folder(tiny: Callable[[], Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no adapters"):
        save(tiny(), tmp_path / "a")
    with pytest.raises(UserError, match="does not exist"):
        save(adapt(tiny(), AdapterConfig()), tmp_path / "missing" / "a")
