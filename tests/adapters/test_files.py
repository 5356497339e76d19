"""Adapters on disk: exact, whole or absent, and refused on a wrong base, rank or shape."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from open_clip.transformer import QuickGELU
from torch import nn

from clipbench.adapters import AdapterConfig, adapt, adapted_modules, load, merge, save, unmerge
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


# --- what goes wrong on disk, and what must not pass in silence ---


def test_a_merged_model_is_not_loaded_into(tiny: Callable[[], Any], saved: tuple[Any, Path]) -> None:
    model = merge(adapt(tiny(), replace(CONFIG, replicas=1, init_seeds=None)))
    with pytest.raises(UserError, match=r"merged into the weights.*unmerge"):
        load(model, saved[1])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(
    tiny: Callable[[], Any], saved: tuple[Any, Path], value: float
) -> None:
    tensors = safetensors.torch.load_file(saved[1])
    next(iter(tensors.values())).view(-1)[0] = value
    _rewrite(saved[1], tensors)
    model = tiny()
    with pytest.raises(UserError, match="holds NaN or infinite"):
        load(model, saved[1])
    assert isinstance(model.visual.transformer.resblocks[0].attn, nn.MultiheadAttention)


def test_a_merge_beyond_the_type_of_the_weights_is_refused(tiny: Callable[[], Any]) -> None:
    model = adapt(tiny().half(), AdapterConfig("lora", rank=4, towers="vision"))
    x = images(1).half()
    for branch in adapted_modules(model).values():
        branch.get_parameter("B").data.fill_(1e5)
    with pytest.raises(UserError, match=r"not finite in torch.float16"):
        merge(model)
    with pytest.raises(UserError, match="nothing is merged"):
        unmerge(model)
    for branch in adapted_modules(model).values():
        branch.get_parameter("B").data.fill_(0.01)
    merge(model)
    assert model.encode_image(x).isfinite().all()  # type: ignore[operator]


def _set(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda sidecar: sidecar["config"].update(values)


@pytest.mark.parametrize(
    "change",
    [
        *(lambda s, v=v: s.update(base=v) for v in (None, {}, [], 3, {"weights": 1})),
        *(lambda s, v=v: s.update(config=v) for v in ([], None, 3, "lora", {"kind": []})),
        *(lambda s, v=v: s.update(tensors_sha256=v) for v in (None, 3)),
        *(lambda s, v=v: s.update(trained=v) for v in (None, 3, "head", [1])),
        *(_set(layers=v) for v in (7, "x", [1], ["a", "b"], {})),
        *(_set(dropout=v) for v in (None, "0", [], float("nan"))),
        *(_set(rank=v) for v in (10**9, "4", 0, 2.5, True)),
        *(_set(alpha=v) for v in ("1", [], 0, True, 10**400)),
        *(_set(replicas=v) for v in (10**9, None)),
        *(_set(targets=v) for v in (3, {"q": 1}, [1])),
        *(_set(patterns=v) for v in (3, [1], ["("])),
        *(_set(init_seeds=v) for v in ("x", ["x"], 3, [1, 2])),
        *(_set(rank_pattern=v) for v in (3, "q", [["q"]], [["q", "x"]])),
        *(_set(options=v) for v in (3, {"x": 1})),
        *(_set(**{k: v}) for k in ("kind", "scaling", "towers", "init", "norm_axis", "detach_norm") for v in ({}, 3)),
    ],
)
def test_json_of_other_types_is_refused(
    tiny: Callable[[], Any], saved: tuple[Any, Path], change: Callable[[dict[str, Any]], None]
) -> None:
    path = saved[1].with_suffix(".json")
    sidecar = json.loads(path.read_text())
    change(sidecar)
    path.write_text(json.dumps(sidecar))
    model = tiny()
    with pytest.raises(UserError, match="load: "):
        load(model, saved[1])
    assert isinstance(model.visual.transformer.resblocks[0].attn, nn.MultiheadAttention)


def test_files_of_other_content_are_refused(tiny: Callable[[], Any], saved: tuple[Any, Path], tmp_path: Path) -> None:
    path = saved[1].with_suffix(".json")
    for text in (b"[" * 100_000, b"\xff\xfe", b"3", b"null"):
        path.write_bytes(text)
        with pytest.raises(UserError, match="load: "):
            load(tiny(), saved[1])
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        load(tiny(), tmp_path / "folder")
    with pytest.raises(UserError, match="names no file"):
        load(tiny(), "")


def test_a_file_that_does_not_fit_leaves_the_model_plain(tiny: Callable[[], Any], saved: tuple[Any, Path]) -> None:
    tensors = safetensors.torch.load_file(saved[1])
    tensors.pop(next(iter(tensors)))
    _rewrite(saved[1], tensors)
    model = tiny()
    with pytest.raises(UserError, match="nothing"):
        load(model, saved[1])
    assert isinstance(model.visual.transformer.resblocks[0].attn, nn.MultiheadAttention)


def test_saving_where_it_cannot_be(tiny: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapt(tiny(), AdapterConfig(rank=2))
    (tmp_path / "d.safetensors").mkdir()
    with pytest.raises(UserError, match="a folder stands where the file should be"):
        save(model, tmp_path / "d")
    for empty in ("", ".", "/"):
        with pytest.raises(UserError, match="names no file"):
            save(model, empty)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(UserError, match="the disk is full"):
            save(model, tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["d.safetensors"]


def test_two_threads_save_to_one_path(tiny: Callable[[], Any], tmp_path: Path) -> None:
    model = adapt(tiny(), AdapterConfig(rank=2))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: save(model, tmp_path / "race"), range(20)))
    load(tiny(), tmp_path / "race")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["race.json", "race.safetensors"]
