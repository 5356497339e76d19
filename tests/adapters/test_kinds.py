"""What every kind of adapter must do, on fused and separate layouts: replicas, merging, files, types, compiling."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
import torch
import transformers
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from clipbench.adapters import (
    KINDS,
    AdapterConfig,
    AdapterError,
    adapt,
    adapted_modules,
    after_step,
    before_step,
    load,
    merge,
    parameter_groups,
    regularisation,
    remove,
    save,
    set_dropout_seeds,
    trainable_parameters,
    unmerge,
)
from clipbench.adapters.hosts import Host
from clipbench.adapters.kinds.low_rank import LoRA
from tests.adapters.models import gradients, images, perturb, relative, tokens

EVERY = pytest.mark.parametrize("kind", KINDS)
SMALL: dict[str, dict[str, Any]] = {kind: {"rank": 4} for kind in KINDS} | {"vera": {"rank": 16}}


def _config(kind: str, **options: Any) -> AdapterConfig:
    return AdapterConfig(kind, **SMALL[kind], **options)


def _timm() -> Any:
    torch.manual_seed(0)
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=32, depth=2, embed_dim=48, num_heads=3, num_classes=0
    ).eval()  # fmt: skip


def _hugging_face() -> Any:
    torch.manual_seed(0)
    config = transformers.CLIPVisionConfig(
        hidden_size=48, intermediate_size=96, num_attention_heads=4, num_hidden_layers=2, image_size=32, patch_size=8
    )
    return transformers.CLIPVisionModel(config).eval()


def _out(model: Any, x: Tensor) -> Tensor:
    found = model.encode_image(x) if hasattr(model, "encode_image") else model(x)
    return found if isinstance(found, Tensor) else found.pooler_output


@pytest.fixture(params=["open_clip", "timm", "hugging face"])
def plain(request: Any, tiny: Callable[[], Any]) -> Callable[[], Any]:
    return {"open_clip": tiny, "timm": _timm, "hugging face": _hugging_face}[request.param]  # type: ignore[no-any-return]


def _x(model: Any, rows: int) -> Tensor:
    return images(rows, 16 if hasattr(model, "encode_image") else 32)


@EVERY
def test_start_replicas_merging_and_files(plain: Callable[[], Any], kind: str, tmp_path: Path) -> None:
    """Unchanged at the start; replicas are separate models; merged and loaded models compute the same."""
    base, joint = plain(), adapt(plain(), _config(kind, replicas=2, init_seeds=(1, 2), towers="vision"))
    x = _x(base, 4)
    if kind != "qlora":
        assert relative(_out(joint, x), _out(base, x)) < 1e-6
    shapes = {name: value.shape for name, value in base.state_dict().items()}
    together = _out(perturb(joint), x)
    together.square().sum().backward()
    for r, part in enumerate(x.chunk(2)):
        assert relative(_out(merge(joint, replica=r), part), together.chunk(2)[r]) < 3e-6
        assert {name: value.shape for name, value in joint.state_dict().items()} == shapes
        path = save(unmerge(joint), tmp_path / f"{r}", replica=r)
        single = load(plain(), path)
        alone = _out(single, part)
        assert relative(alone, together.chunk(2)[r]) < 3e-6
        alone.square().sum().backward()
        for one, many in zip(gradients(single), gradients(joint), strict=True):
            assert relative(many[r], one[0]) < 1e-4 or (many[r] - one[0]).abs().max() < 1e-5
    assert relative(_out(joint, x), together) == 0.0
    if kind != "qlora":
        assert relative(_out(remove(joint), x), _out(base, x)) < 1e-6  # torch's fused attention, with no gradient


@EVERY
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_by_autocast_and_as_the_type_of_the_base(
    tiny: Callable[[], Any], kind: str, dtype: torch.dtype
) -> None:
    x, model = images(2), perturb(adapt(tiny(), _config(kind, init_seeds=(1,), towers="vision")), 3)
    exact = model.encode_image(x)
    with torch.autocast("cpu", dtype):
        rough = model.encode_image(x)
    rough.float().sum().backward()
    assert relative(rough.float(), exact) < 0.05
    assert all(grad.dtype == torch.float32 and grad.isfinite().all() for grad in gradients(model))
    half = perturb(adapt(tiny().to(dtype), _config(kind, init_seeds=(1,), towers="vision")), 3)
    assert {p.dtype for branch in adapted_modules(half).values() for p in branch.parameters()} == {torch.float32}
    found = half.encode_image(x.to(dtype))
    found.float().sum().backward()
    assert found.dtype == dtype
    assert relative(found.float(), exact) < 0.1
    assert relative(merge(half).encode_image(x.to(dtype)).float(), exact) < 0.1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "qlora"])
def test_compiles_without_a_graph_break(tiny: Callable[[], Any], kind: str) -> None:
    torch._dynamo.reset()
    config = _config(kind, replicas=2, init_seeds=(0, 1), layers=(0, 1), dropout=0.25)
    one, model = (perturb(adapt(tiny().visual, config)).train() for _ in range(2))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    for m in (one, model):
        set_dropout_seeds(m, (1, 2))
        before_step(m, (1, 2), 0)
    x = images(4)
    found, expected = compiled(x), one(x)
    assert relative(found, expected) < 1e-6
    found.square().sum().backward()
    expected.square().sum().backward()
    assert all(relative(a, b) < 1e-5 for a, b in zip(gradients(compiled), gradients(one), strict=True))


def test_qlora_compiles_too(tiny: Callable[[], Any]) -> None:
    torch._dynamo.reset()
    model = perturb(adapt(tiny().visual, _config("qlora", layers=(0, 1)))).train()
    x = images(2)
    assert relative(torch.compile(model, backend="aot_eager")(x), model(x)) < 1e-6


@EVERY
def test_the_loss_falls_at_the_rate_and_scale_of_its_source(kind: str) -> None:
    """Forty steps of AdamW on a small classifier, with the kind's own rank, scale, rate and schedule."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 5))
    x, y = torch.randn(80, 64), torch.randint(5, (80,))
    options = {"total_steps": 40} if kind == "adalora" else None
    adapt(plain, AdapterConfig(kind, targets=(), patterns=("0", "2"), options=options, init_seeds=(0,))).train()
    optimiser = torch.optim.AdamW(parameter_groups(plain, weight_decay=0.01))
    losses = []
    for step in range(40):
        before_step(plain, (0,), step)
        loss = cross_entropy(20 * plain(x), y) + regularisation(plain).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        after_step(plain)
        losses.append(loss.item())
    assert sum(losses[-8:]) / 8 < 0.95 * losses[0]
    defaults = KINDS[kind].defaults
    assert optimiser.param_groups[0]["lr"] == defaults.learning_rate
    if kind == "lora+":
        rates = {group["lr"]: len(group["params"]) for group in optimiser.param_groups}
        assert rates == {5e-5: 2, 16 * 5e-5: 2}


@pytest.mark.parametrize(
    ("kind", "rank", "total"),
    [
        ("lora", 2, 245_760),
        ("dora", 2, 307_200),
        ("vera", 256, 86_016),
        ("vera", 2, 61_632),
        ("vera", 1024, 159_744),
        ("dylora", 8, 983_040),
        ("dylora", 2, 245_760),
        ("adalora", 3, 368_928),
        ("qlora", 2, 245_760),
    ],
)
def test_counts_on_vit_b16(kind: str, rank: int, total: int) -> None:
    """q, k, v and o of both towers, as peft counts on Hugging Face's CLIP (AdaLoRA less 96 constants, its ranknum)."""
    with torch.device("meta"):
        model = open_clip.create_model("ViT-B-16-quickgelu", pretrained=None, device="meta")
    adapt(model, AdapterConfig(kind, rank))
    assert trainable_parameters(model).total == total


def test_qlora_keeps_the_base_in_four_bits(tiny: Callable[[], Any]) -> None:
    """No full matrix stays, forward saves none for backward, and what is merged or removed is the restored base."""
    model = adapt(tiny(), _config("qlora", targets="all-linear", towers="vision"))
    hosts = [module for module in model.modules() if isinstance(module, Host)]
    assert hosts
    assert all(host.quantised is not None and "weight" not in host._parameters for host in hosts)
    kept = sum(b.numel() * b.element_size() for h in hosts for b in h.quantised.buffers())  # type: ignore[union-attr]
    full = sum(host.frozen_weight.numel() for host in hosts)
    assert kept * 8 / full < 5.2  # 4.127 for large matrices
    saved: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        perturb(model).encode_image(images(2))
    assert not [t for t in saved if tuple(t.shape) in {tuple(host.frozen_weight.shape) for host in hosts}]
    restored = {host.path: host.frozen_weight.clone() for host in hosts if "attn" not in host.path}
    remove(model)
    assert all(torch.equal(model.get_submodule(path).weight, w) for path, w in restored.items())
    assert type(model.visual.transformer.resblocks[0].attn) is nn.MultiheadAttention


def test_fused_and_separate_projections_are_quantised_alike() -> None:
    from clipbench.adapters.nf4 import QuantisedMatrix

    weight = torch.randn(3 * 64, 64, generator=torch.Generator().manual_seed(0))
    fused = QuantisedMatrix(weight, 3, double=True).restore()
    assert torch.equal(fused, torch.cat([QuantisedMatrix(w, 1, double=True).restore() for w in weight.chunk(3)]))


@pytest.mark.parametrize("kind", ["lora", "dora", "qlora"])
def test_pissa_starts_from_the_principal_directions(tiny: Callable[[], Any], kind: str, tmp_path: Path) -> None:
    """The sum is W; s B A is its best approximation of rank r; and files carry what it started from."""
    base, x = tiny(), images(2)
    model = adapt(tiny(), _config(kind, init="pissa", towers="vision"))
    if kind != "qlora":
        assert relative(model.encode_image(x), base.encode_image(x)) < 1e-5
    branch = adapted_modules(model)["visual.transformer.resblocks.0.attn.k"]
    assert isinstance(branch, LoRA)
    weight = base.visual.transformer.resblocks[0].attn.in_proj_weight[32:64]
    if kind != "qlora":
        u, s, v = torch.linalg.svd(weight)
        best = u[:, :4] * s[:4] @ v[:4]
        assert relative(branch.scale * branch.B[0] @ branch.A[0], best) < 1e-5
    found = perturb(model).encode_image(x)
    assert relative(load(tiny(), save(model, tmp_path / "pissa")).encode_image(x), found) < 1e-6  # type: ignore[operator]
    assert relative(merge(model).encode_image(x), found) < 1e-5  # type: ignore[operator]


def test_orthogonal_starts_are_drawn_and_cancel(tiny: Callable[[], Any]) -> None:
    base, x = tiny(), images(2)
    model = adapt(tiny(), _config("lora", init="orthogonal", init_seeds=(1,)))
    assert relative(model.encode_image(x), base.encode_image(x)) < 1e-5
    branch = next(iter(adapted_modules(model).values()))
    assert isinstance(branch, LoRA)
    assert branch.A.abs().max() > 0.01
    assert branch.B.abs().max() > 0.01
    assert (branch.B[0] @ branch.A[0]).abs().max() < 1e-6
    with pytest.raises(AdapterError, match="needs even ranks; 3 is odd"):
        AdapterConfig(rank=3, init="orthogonal")


@pytest.mark.parametrize("kind", ["lora", "dora", "adalora"])
def test_ranks_and_alphas_of_single_matrices(tiny: Callable[[], Any], kind: str, tmp_path: Path) -> None:
    """Patterns of ranks and alphas, with q, k and v of one fused matrix at different ranks."""
    patterns: dict[str, Any] = {"rank_pattern": {r"attn\.q": 2, r"1\.attn\.o": 6}, "alpha_pattern": {r"attn\.v": 3.0}}
    model = perturb(adapt(tiny(), _config(kind, alpha=8, replicas=2, init_seeds=(1, 2), **patterns)))
    branches = adapted_modules(model)
    block = "visual.transformer.resblocks.{}.attn.{}"
    sizes = {name: (branches[block.format(*name)].rank, branches[block.format(*name)].scale) for name in
             [(0, "q"), (0, "k"), (0, "v"), (0, "o"), (1, "o")]}  # fmt: skip
    assert sizes == {
        (0, "q"): (2, 4.0),
        (0, "k"): (4, 2.0),
        (0, "v"): (4, 0.75),
        (0, "o"): (4, 2.0),
        (1, "o"): (6, 8 / 6),
    }
    x, t = images(4), tokens(4)
    together = torch.cat([model.encode_image(x), model.encode_text(t)], 1)
    for r, rows in enumerate((slice(0, 2), slice(2, 4))):
        single = load(tiny(), save(model, tmp_path / f"{r}", replica=r))
        alone = torch.cat([single.encode_image(x[rows]), single.encode_text(t[rows])], 1)  # type: ignore[operator]
        assert relative(alone, together[rows]) < 3e-6
        assert relative(merge(single).encode_image(x[rows]), together[rows, :16]) < 3e-6  # type: ignore[operator]


def test_what_a_kind_cannot_do_is_refused() -> None:
    for options, message in [
        ({"kind": "vera", "alpha": 16}, "has no alpha"),
        ({"kind": "vera", "rank_pattern": {"q": 2}}, "one rank for all"),
        ({"kind": "vera", "options": {"key": -1}}, "key = -1"),
        ({"kind": "vera", "options": {"seed": 1}}, r"has no options \['seed'\]; it has key, d_initial"),
        ({"kind": "dylora", "rank_pattern": {"q": 2}}, "not for kind = 'dylora'"),
        ({"kind": "adalora", "options": {"total_steps": 20, "target_rank": 3}}, "must be less than rank = 3"),
        ({"kind": "adalora", "options": {"total_steps": 4, "initial_steps": 2}}, "leave none of 4"),
        ({"kind": "adalora", "init": "pissa"}, "has its start"),
        ({"kind": "lora+", "options": {"ratio": 0}}, "ratio = 0"),
        ({"kind": "qlora", "options": {"double": 1}}, "double = 1"),
        ({"kind": "lora", "options": {"double": True}}, "lora has no options"),
    ]:
        with pytest.raises(AdapterError, match=message):
            AdapterConfig(**options)  # type: ignore[arg-type]
    model = adapt(nn.Sequential(nn.Linear(4, 4)), AdapterConfig("adalora", targets=(), patterns=("0",)))
    with pytest.raises(AdapterError, match="total_steps"):
        after_step(model)
    with pytest.raises(AdapterError, match="a 4 x 4 matrix has fewer"):
        adapt(nn.Sequential(nn.Linear(4, 4)), AdapterConfig(rank=5, init="pissa", targets=(), patterns=("0",)))
