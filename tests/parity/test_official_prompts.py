"""CoOp, CoCoOp, KgCoOp, ProGrad and PLOT++ against numbers of their official code, through the code of a run.

Tolerances are those that the fixtures suggest: logits 2e-4 (1e-3 after three steps), gradients 2e-4, parameters after
steps 2e-6, losses 1e-4, plans 1e-6.
"""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from clipbench.engine.optimiser import Optimiser
from clipbench.engine.schedule import learning_rate
from clipbench.methods.base import Method
from clipbench.methods.cocoop import CoCoOp
from clipbench.methods.kgcoop import KgCoOp
from clipbench.methods.plotpp import PLOTpp
from clipbench.methods.prograd import ProGrad
from clipbench.registry.budget import Budget
from tests.parity.official_clip import CPU, FOLDER, Fixture, Trainer, fixture, images, logits_of, made, protocol, put

LOGITS, LATER, GRADIENT, PARAMETER, LOSS = (
    "init.logits",
    "step3.logits",
    "gradients (absolute)",
    "parameters after steps",
    "losses",
)


def same_tokens(ids: Tensor, due: Tensor) -> None:
    """The context is cut behind the longest prompt; nothing but padding is lost."""
    length = ids.shape[1]
    assert torch.equal(ids, due[:, :length])
    assert not due[:, length:].any()


def unit_classes(method: Method) -> Tensor:
    """Class features ``[C, D]`` of the one run, normalised."""
    with torch.no_grad():
        return normalize(method.encode_classes()[0], dim=-1)


@pytest.mark.parametrize("name", ["coop4", "coop16"])
def test_coop(name: str) -> None:
    case = fixture(name)
    method = made(protocol(f"coop-{name.removeprefix('coop')}-1shot", case.column), case.meta["classnames"])
    same_tokens(method.prompts().ids, case.tensors["token_ids"])
    if name == "coop4":  # the 16 vectors are drawn
        case.near("init.ctx", method.get_parameter("context")[0], "features")
    put(method, context=case.tensors["init.ctx"])
    case.near("init.text_features", unit_classes(method), "features")
    case.near("init.image_features", normalize(method.image_features(images()), dim=-1), "features")
    case.near("init.logits", logits_of(method, images()), LOGITS)
    _trained(case, method, "context")


def test_kgcoop() -> None:
    case = fixture("kgcoop")
    method = made(protocol("kgcoop-1shot", case.column), case.meta["classnames"])
    assert isinstance(method, KgCoOp)
    same_tokens(method.prompts().ids, case.tensors["token_ids"])
    case.near("init.ctx", method.context[0], "features")
    case.near("teacher_text_features", method.teacher, "features")
    case.near("init.logits", logits_of(method, images()), LOGITS)
    distances = []
    _trained(case, method, "context", lambda: distances.append(method.distance(method.class_features())[0].detach()))
    case.near("losses.kg", torch.stack(distances), LOSS)


def _trained(case: Fixture, method: Method, name: str, before: object = None) -> None:
    """Three steps on all images: losses, the first gradient, the parameter, and the logits at the end."""
    trainer, losses = Trainer(method), []
    for step in (1, 2, 3):
        if callable(before):
            before()
        losses.append(trainer.step(images(), case.labels)[0])
        if step == 1:
            gradient = method.get_parameter(name).grad
            assert gradient is not None
            case.near("step1.grad.ctx", gradient[0], GRADIENT)
        if step != 2:
            case.near(f"step{step}.ctx", method.get_parameter(name)[0], PARAMETER)
    case.near("losses", torch.stack(losses), LOSS)
    case.near("step3.logits", logits_of(method, images()), LATER)


META = {"meta_net.linear1": "linear1", "meta_net.linear2": "linear2"}


def test_cocoop() -> None:
    """One image a step; the learnables of context and meta-net, and class features of each image."""
    case = fixture("cocoop")
    method = made(protocol("cocoop-1shot", case.column), case.meta["classnames"])
    assert isinstance(method, CoCoOp)
    same_tokens(method.prompts().ids, case.tensors["token_ids"])
    case.near("init.ctx", method.context[0], "features")
    names = {"ctx": "context"} | {f"{o}.{x}": f"{n}.{x}" for o, n in META.items() for x in ("weight", "bias")}
    put(method, **{ours: case.tensors[f"init.{theirs}"] for theirs, ours in names.items()})
    with torch.no_grad():
        features = normalize(method.image_features(images()), dim=-1)
        case.near("init.meta_bias", method.shift(features[None])[0], "features")
    case.near("init.logits", logits_of(method, images()), LOGITS)
    trainer, losses = Trainer(method), []
    for step in (1, 2, 3):
        losses.append(trainer.step(images()[step - 1 : step], case.labels[:, step - 1 : step])[0])
        for theirs, ours in names.items():
            parameter = method.get_parameter(ours)
            if step == 1:
                assert parameter.grad is not None
                case.near(f"step1.grad.{theirs}", parameter.grad[0], GRADIENT)
            if step != 2:
                case.near(f"step{step}.{theirs}", parameter[0], PARAMETER)
    case.near("losses", torch.stack(losses), LOSS)
    case.near("step3.logits", logits_of(method, images()), LATER)


@pytest.mark.parametrize("start", ["", "conflict."])
def test_prograd(start: str) -> None:
    """Both losses, their gradients, the one that is used, from a start without and one with conflicts."""
    case = fixture("prograd")
    method = _prograd(case, start)
    same_tokens(method.prompts().ids, case.tensors["token_ids"])
    case.near("teacher_text_features", method.teacher, "features")
    case.near(f"{start}init.text_features", unit_classes(method), "features")
    case.near(f"{start}init.logits", logits_of(method, images()), LOGITS)
    trainer, losses = Trainer(method), []
    for step in (1, 2, 3):
        both = method.losses(method.image_features(images()), case.labels)
        for which, loss in zip(("ce", "kl"), both, strict=True):
            (gradient,) = torch.autograd.grad(loss.sum(), [method.context], retain_graph=True)
            case.near(f"{start}step{step}.grad_{which}.ctx", gradient[0], GRADIENT)
        losses.append(trainer.step(images(), case.labels)[:, 0])
        assert method.context.grad is not None
        case.near(f"{start}step{step}.grad_used.ctx", method.context.grad[0], GRADIENT)
        case.near(f"{start}step{step}.ctx", method.context[0], PARAMETER)
    ce, kl = torch.stack(losses, dim=1)
    case.near(f"{start}losses.ce", ce, LOSS)
    case.near(f"{start}losses.kl", kl, LOSS)
    case.near(f"{start}step3.logits", logits_of(method, images()), LATER)


def test_prograd_takes_out_a_share() -> None:
    case = fixture("prograd")
    method = _prograd(case, "conflict.", projection=0.8)
    Trainer(method).step(images(), case.labels)
    assert method.context.grad is not None
    case.near("conflict.lambda0.8.step1.grad_used.ctx", method.context.grad[0], GRADIENT)
    case.near("conflict.lambda0.8.step1.ctx", method.context[0], PARAMETER)


def _prograd(case: Fixture, start: str, **changes: float) -> ProGrad:
    method = made(protocol("prograd-1shot", case.column, **changes), case.meta["classnames"])
    assert isinstance(method, ProGrad)
    if not start:
        case.near("init.ctx", method.context[0], "features")
    put(method, context=case.tensors[f"{start}init.ctx"])
    return method


def test_plotpp() -> None:
    """Both stages, the second from what the first has come to; token ids, plans, and a batch by itself."""
    case = fixture("plotpp")
    method = _plotpp(case, case.column)
    same_tokens(method.prompts().ids, case.tensors["token_ids"].flatten(0, 1))
    case.near("stage1.init.ctx", method.context[0], "features")
    put(method, vision=case.tensors["stage1.init.ctx_vision"])
    for stage in (1, 2):
        method.new_stage(stage - 1)
        if stage == 2:
            case.near("stage2.init.ctx", method.context[0], PARAMETER)
            put(method, context=case.tensors["stage2.init.ctx"], vision=case.tensors["stage2.init.ctx_vision"])
        _features(case, method, f"stage{stage}.init")
        case.near(f"stage{stage}.init.logits", logits_of(method, images()), LOGITS)
        _stage(case, method, stage)
        _features(case, method, f"stage{stage}.step3", of_features=1e-4)
        case.near(f"stage{stage}.step3.logits", logits_of(method, images()), LATER)
    case.near("stage2.step3.logits_first5_as_own_batch", logits_of(method, images()[:5]), LATER)


def test_plotpp_with_a_phrase_that_is_too_short() -> None:
    """ImageNet's third phrase has three tokens: its fourth vector is the end-of-text token's, in the name's place."""
    case = fixture("plotpp")
    method = _plotpp(case, "imagenet")
    same_tokens(method.prompts().ids, case.tensors["other.token_ids"].flatten(0, 1))
    case.near("other.init.ctx", method.context[0], "features")
    put(method, vision=case.tensors["stage1.init.ctx_vision"])
    method.new_stage(1)
    _features(case, method, "other.init")
    case.near("other.init.logits", logits_of(method, images()), LOGITS)


def _plotpp(case: Fixture, column: str) -> PLOTpp:
    method = made(protocol("plotpp-1shot", column), case.meta["classnames"])
    assert isinstance(method, PLOTpp)
    return method


@torch.no_grad()
def _features(case: Fixture, method: PLOTpp, where: str, of_features: float = 1e-5) -> None:
    """Image and text features, un-normalised, and the plan."""
    found, classes = method.image_features(images()), method.encode_classes()
    for name, ours in (("image", found.transpose(0, 1)), ("text", classes[0].transpose(0, 1))):
        torch.testing.assert_close(ours, case.tensors[f"{where}.{name}_features"], rtol=0.0, atol=of_features)
    similarity = torch.einsum("bmd,rcnd->rbcmn", normalize(found, dim=-1), normalize(classes, dim=-1))
    case.near(f"{where}.plan", method.plan(similarity)[0], "sinkhorn plan")


def _stage(case: Fixture, method: PLOTpp, stage: int) -> None:
    names = {"ctx_vision": "vision"} if stage == 1 else {"ctx": "context", "ctx_vision": "vision"}
    trainer, losses = Trainer(method), []
    for step in (1, 2, 3):
        losses.append(trainer.step(images(), case.labels)[0])
        for theirs, ours in names.items():
            parameter = method.get_parameter(ours)
            if step == 1:
                assert parameter.grad is not None
                case.near(f"stage{stage}.step1.grad.{theirs}", parameter.grad[0], GRADIENT)
            if step != 2:
                case.near(f"stage{stage}.step{step}.{theirs}", parameter[0], PARAMETER)
    case.near(f"stage{stage}.losses", torch.stack(losses), LOSS)


SCHEDULE = json.loads((FOLDER / "schedule_and_optimiser.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("epochs", SCHEDULE["learning_rate_of_epoch"])
def test_the_schedule_epoch_by_epoch(epochs: str) -> None:
    """One warm-up epoch, then a cosine that keeps its length; three steps an epoch, all at its rate."""
    p = protocol("coop-16-1shot", "eurosat", epochs=int(epochs))
    budget = Budget(3, 3 * int(epochs), by_steps=False)
    found = [learning_rate(p, step, budget) for step in range(budget.steps)]
    due = [rate for rate in SCHEDULE["learning_rate_of_epoch"][epochs] for _ in range(3)]
    assert found == pytest.approx(due, rel=0.0, abs=1e-15)


def test_sgd_with_weight_decay() -> None:
    """Momentum without dampening, decay added to the gradient: 2e-5 of numbers near 100, five steps."""
    check = SCHEDULE["optimiser_check"]
    p = torch.nn.Parameter(torch.tensor(check["p0"]))
    settings = protocol("coop-16-1shot", "eurosat")
    optimiser = Optimiser([{"params": [p], "weight_decay": settings.need("weight_decay")}], settings, CPU)
    for gradient, due in zip(check["gradients"], check["p_after_each_step"], strict=True):
        optimiser.step((p * torch.tensor(gradient)).sum()[None], settings.need("lr"))
        torch.testing.assert_close(p.detach(), torch.tensor(due), rtol=0.0, atol=2e-5)
