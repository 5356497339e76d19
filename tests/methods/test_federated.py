"""Federated rounds in one pass against a plain loop over clients; runs that resume; what is counted as sent."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from clipbench.adapters import AdapterConfig, adapt, adapted_modules
from clipbench.engine.loop import Loop
from clipbench.engine.random import stream
from clipbench.engine.tasks.head import LinearHead
from clipbench.errors import UserError
from clipbench.methods.base import Setting
from clipbench.methods.federated import FederatedLoRA
from clipbench.models.load import load_image_tower
from clipbench.plan.select import make_plan
from clipbench.registry import Overrides
from clipbench.registry.protocol import Protocol
from tests.engine.passes_for_tests import curve, place, predictions, run_planned

CLASSES, IMAGES, ROUNDS = 3, 16, 2
RULES = ("fedavg", "ffa", "product", "local")


def planned(rule: str, **fields: Any) -> list[Any]:
    fields = {"limit": 5, "epochs": 3, "clients": 4, "clients_per_pass": 2, "adapter_dropout": 0.0} | fields
    return list(make_plan(["federated"], Overrides("smoke", fields=fields), [f"row={rule}", "dataset=ucm"], (1,)).runs)


def protocol(rule: str, **fields: Any) -> Protocol:
    return planned(rule, limit=None, epochs=ROUNDS, batch_size=3, **fields)[0].run.protocol


def method(rule: str, at_once: int, clients: int = 4) -> FederatedLoRA:
    p = protocol(rule, clients=clients, clients_per_pass=at_once)
    tower = load_image_tower("clipbench-tiny", "embedded", "patch-mean")
    head = LinearHead((1,), CLASSES, tower.width, p)
    found = FederatedLoRA()
    found.setup(
        Setting(tower, ["a", "b", "c"], "", p, (1,), torch.device("cpu"), head=head, epochs=ROUNDS, _stream=stream)
    )
    return found


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(IMAGES, 3, 64, 64, generator=generator), torch.randint(CLASSES, (IMAGES,), generator=generator)


def optimiser(parameters: Any) -> torch.optim.Optimizer:
    # A large epsilon: Adam would turn the rounding of a gradient of zero into a step.
    return torch.optim.AdamW(list(parameters), lr=3e-3, eps=1e-3, weight_decay=0.1)


def in_passes(rule: str, at_once: int) -> tuple[FederatedLoRA, list[Tensor]]:
    """As the engine drives the method; the clients' states at the end."""
    images, labels = data()
    found = method(rule, at_once)
    for epoch in range(ROUNDS):
        order, slices = found.epoch_order(epoch, labels[None])
        found.start_epoch(epoch, (1,))
        found.train()
        for number, part in enumerate(slices):
            if found.before_step(number):
                steps = optimiser(found.trained())
            index = order[0, part]
            loss = found.losses(found.image_features(images[index]), labels[index][None])
            steps.zero_grad()
            loss.sum().backward()
            steps.step()
            found.after_step()
        found.end_epoch(epoch)
    return found, [found.get_buffer(f"state_{n}") for n in range(len(found.trained()))]


class Client(nn.Module):
    """One client by plain code: its own copy of the tower with adapters of one replica, and a linear layer."""

    def __init__(self, like: FederatedLoRA, rule: str) -> None:
        super().__init__()
        p = like.setting.protocol
        self.tower = load_image_tower("clipbench-tiny", "embedded", "patch-mean")
        self.module = self.tower.module
        seeds = (like.setting.stream("adapter").initial_seed(),)
        config = AdapterConfig("lora", p.rank, p.alpha, p.scaling, targets=p.targets, towers="vision", init_seeds=seeds)
        adapt(self.module, config)
        for branch in adapted_modules(self.module).values():
            branch.get_parameter("A").requires_grad_(rule != "ffa")
        start = LinearHead((1,), CLASSES, self.tower.width, p)
        self.linear = nn.Linear(self.tower.width, CLASSES)
        self.linear.load_state_dict({"weight": start.weight[0].detach(), "bias": start.bias[0].detach()})  # type: ignore[index]

    def trained(self) -> list[nn.Parameter]:
        return [p for p in self.parameters() if p.requires_grad]

    def learn(self, images: Tensor, labels: Tensor, batches: list[Tensor]) -> None:
        steps = optimiser(self.trained())
        for batch in batches:
            steps.zero_grad()
            logits = self.linear(self.tower.encode_image(images[batch]))
            functional.cross_entropy(logits, labels[batch]).backward()
            steps.step()


def client_after_client(rule: str, like: FederatedLoRA) -> list[Client]:
    """The same rounds by a loop over clients."""
    images, labels = data()
    clients = [Client(like, rule) for _ in like._members]
    sizes = np.array([len(m) for m in like._members], dtype=np.float64)
    for epoch in range(ROUNDS):
        for number, client in enumerate(clients):
            member = torch.from_numpy(like._members[number])
            order = member[torch.randperm(len(member), generator=stream(1, f"client {number} round {epoch}"))]
            client.learn(images, labels, [order[i : i + 3] for i in range(0, len(order), 3)])
        if rule != "local":
            _share(rule, clients, sizes / sizes.sum())
    return clients


@torch.no_grad()
def _share(rule: str, clients: list[Client], shares: Any) -> None:
    means = [
        sum(s * p.double() for s, p in zip(shares, ps, strict=True))
        for ps in zip(*(c.trained() for c in clients), strict=True)
    ]
    product = {}
    if rule == "product":
        for name in adapted_modules(clients[0].module):
            branches = [adapted_modules(c.module)[name] for c in clients]
            dense = sum(
                s * b.get_parameter("B")[0].double() @ b.get_parameter("A")[0].double()
                for s, b in zip(shares, branches, strict=True)
            )
            u, values, v = torch.linalg.svd(dense, full_matrices=False)
            rank = branches[0].rank
            product[name] = v[:rank], u[:, :rank] * values[:rank]
    for client in clients:
        for parameter, mean in zip(client.trained(), means, strict=True):
            parameter.copy_(mean)
        for name, (down, up) in product.items():
            branch = adapted_modules(client.module)[name]
            branch.get_parameter("A")[0].copy_(down)
            branch.get_parameter("B")[0].copy_(up)


@pytest.mark.parametrize("rule", RULES)
def test_clients_as_replicas_are_a_loop_over_clients(rule: str) -> None:
    torch.manual_seed(0)
    together, states = in_passes(rule, 4)
    one, alone = in_passes(rule, 1)
    plain = client_after_client(rule, one)
    sizes = [len(m) for m in one._members]
    assert len(set(sizes)) > 1
    assert sum(sizes) == IMAGES
    images = data()[0]
    outputs = [m.eval().logits(m.image_features(images))[0] for m in (together, one)]
    torch.testing.assert_close(*outputs, rtol=1e-3, atol=1e-4)
    if rule != "local":
        due = plain[0].linear(plain[0].tower.encode_image(images))
        torch.testing.assert_close(outputs[0], due, rtol=1e-3, atol=1e-4)
    for client in range(4 if rule != "product" else 0):  # a product's factors are fixed up to signs
        for state, other, parameter in zip(states, alone, plain[client].trained(), strict=True):
            expected = parameter.view_as(state[client])
            torch.testing.assert_close(other[client], expected, rtol=1e-3, atol=1e-5)
            torch.testing.assert_close(state[client], expected, rtol=1e-3, atol=1e-5)


def test_after_a_product_round_the_update_is_the_best_approximation_of_the_clients_mean() -> None:
    found = method("product", 2)
    images, labels = data()
    order, _ = found.epoch_order(0, labels[None])
    del order, images
    branch = next(iter(adapted_modules(found.adapted).values()))
    position = [id(p) for p in found._live].index
    down, up = (found.get_buffer(f"state_{position(id(branch.get_parameter(n)))}") for n in "AB")
    generator = torch.Generator().manual_seed(8)
    down.copy_(torch.randn(down.shape, generator=generator))
    up.copy_(torch.randn(up.shape, generator=generator))
    shares = found.shares.double() / found.shares.sum()
    dense = torch.einsum("k,kor,kri->oi", shares, up.double(), down.double())
    u, values, v = torch.linalg.svd(dense)
    due = (u[:, : branch.rank] * values[: branch.rank]) @ v[: branch.rank]
    found.end_epoch(0)
    torch.testing.assert_close(up[3].double() @ down[3].double(), due, rtol=1e-4, atol=1e-4)


def test_local_models_are_tested_in_turn() -> None:
    found, _ = in_passes("local", 2)
    images = data()[0][:7]
    with torch.no_grad():
        logits = found.eval().logits(found.image_features(images))
        assert logits.shape == (1, 7, CLASSES)
        for image in range(7):
            found._copy_in((image % 4) // 2)
            rows = images[image][None].expand(2, -1, -1, -1)
            own = found.setting.head(FederatedLoRA.__mro__[1].image_features(found, rows))  # type: ignore[attr-defined,misc]
            torch.testing.assert_close(logits[0, image], own[image % 2, 0], rtol=1e-4, atol=1e-4)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("rule", RULES)
def test_a_run_resumes_exactly_and_its_record_holds_rounds_and_megabytes(
    rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = planned(rule)
    (due,) = run_planned(group, place(tmp_path / "whole")).drafts
    where, train = place(tmp_path / "cut", checkpoint_seconds=0.0), Loop._train_epoch

    def killed(self: Any, plan: Any, inputs: Any, hooks: Any) -> None:
        if plan.epoch == 2:
            raise KilledError
        train(self, plan, inputs, hooks)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_train_epoch", killed)
        with pytest.raises(KilledError):
            run_planned(group, where)
    (found,) = run_planned(group, where).drafts
    assert curve(found) == curve(due)
    assert (predictions(found) == predictions(due)).all()
    assert [line.epoch for line in due.record.history] == [1, 2, 3]
    assert all(line.accuracy is not None for line in due.record.history)
    # Width 96, 4 blocks of q, k, v, o at rank 8, and a head on 96 features; A is not sent where it is frozen.
    factor, head = 4 * 4 * 8 * 96, due.record.data.classes * 97
    numbers = {"fedavg": 2 * factor + head, "product": 2 * factor + head, "ffa": factor + head, "local": 0}[rule]
    assert due.record.metrics["sent_megabytes_by_round"] == pytest.approx(2 * 4 * 4 * numbers / 1e6)
    assert due.record.metrics["sent_megabytes"] == pytest.approx(3 * 2 * 4 * 4 * numbers / 1e6)
    trained = 2 * factor + head if rule != "ffa" else factor + head
    assert due.record.model.trainable_parameters == trained


def test_clients_must_be_whole_passes() -> None:
    with pytest.raises(UserError, match="4 clients are no whole number of passes of 3"):
        method("fedavg", 3)


def test_copies_of_a_state_do_not_share_memory() -> None:
    found = method("fedavg", 2)
    before = copy.deepcopy(found.get_buffer("state_0"))
    with torch.no_grad():
        found._live[0].add_(1.0)
    torch.testing.assert_close(found.get_buffer("state_0"), before, rtol=0, atol=0)
