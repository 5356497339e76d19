"""EMSCNet's branch, contrast, store of features and slow copy against plain loops in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from clipbench.methods.base import Setting, Support
from clipbench.methods.emscnet import AttentionBranch, EMSCNet, _turned, multi_sample_contrast
from clipbench.models.image_tower import ImageTower
from tests.factory import protocol_of

LABELS = torch.tensor([[2, 0, 1, 0, 2, 1, 0, 2, 1]])


def test_the_branch_attends_to_stored_features() -> None:
    """A loop over images, heads and stored features, in float64; gradients reach the query and the feature alone."""
    random = torch.Generator().manual_seed(0)
    branch = AttentionBranch(128, 3, random).double()
    for parameter in branch.parameters():
        parameter.data = torch.randn(parameter.shape, generator=random).double() * 0.3
    features = torch.randn(2, 128, generator=random).double().requires_grad_()
    sets = [torch.randn(2, n, 128, generator=random).double() for n in (5, 2)]
    due = []
    for image in range(2):
        joined = features[image].clone()
        query = branch.query(branch.norm(features[image]))
        for others in sets:
            heads = []
            for head in (slice(0, 64), slice(64, 128)):
                scores = [(query[head] @ other[head]).item() / math.sqrt(64) for other in others[image]]
                total = sum(math.exp(s) for s in scores)
                heads.append(sum(math.exp(s) / total * o[head] for s, o in zip(scores, others[image], strict=True)))
            joined = joined + branch.project(torch.cat(heads))
        due.append(branch.classify(joined))
    found = branch(features, sets)
    torch.testing.assert_close(found, torch.stack(due), atol=1e-10, rtol=1e-10)
    found.sum().backward()
    assert features.grad is not None
    assert all(p.grad is not None for p in branch.parameters())


def test_the_contrast_is_the_sum_over_all_pairs() -> None:
    """log(1 + sum over pairs of exp(10 (negative - positive))), and its gradient by finite differences."""
    random = torch.Generator().manual_seed(1)
    positive, negative = (torch.rand(3, n, generator=random).double().requires_grad_() for n in (2, 4))
    due = [
        math.log1p(sum(math.exp(10 * (float(n) - float(p))) for n in ns for p in ps))
        for ps, ns in zip(positive, negative, strict=True)
    ]
    assert float(multi_sample_contrast(positive, negative, 10.0)) == pytest.approx(sum(due) / 3, rel=1e-12)
    assert torch.autograd.gradcheck(lambda p, n: multi_sample_contrast(p, n, 10.0), (positive, negative))


def test_quarter_turns() -> None:
    images = torch.rand(5, 3, 4, 4)
    found = _turned(images, torch.tensor([0, 1, 2, 3, 1]))
    assert torch.equal(found[0], images[0])
    assert all(torch.equal(found[i], torch.rot90(images[i], k, (1, 2))) for i, k in ((1, 1), (2, 2), (3, 3), (4, 1)))


def emscnet() -> tuple[EMSCNet, Tensor]:
    """The method over a linear 'tower' of 12 inputs and 64 features, and the features of its nine training images."""
    torch.manual_seed(0)
    module = nn.Linear(12, 64)
    names = {"prefix": 1, "width": 64, "image_size": 2, "mean": (0,) * 3, "std": (1,) * 3, "name": "", "weights": ""}
    tower = ImageTower(
        module, lambda x: module(x.flatten(1))[:, None], nn.Identity(), weights_sha256="", pooling="cls", **names
    )
    protocol = protocol_of("lora-clip/table1", "emscnet-vit-b", "aid-20")
    features = torch.randn(1, 9, 64)
    setting = Setting(
        tower, ["a", "b", "c"], "", protocol, (1,), torch.device("cpu"), nn.Linear(64, 3),
        _support=lambda *_: Support(LABELS, features),
    )  # fmt: skip
    setting.head.forward = lambda x, layer=setting.head: nn.functional.linear(x, layer.weight, layer.bias)[None]
    method = EMSCNet()
    method.setup(setting)
    method.start_epoch(0, [1])
    return method.train(), nn.functional.normalize(features[0], dim=-1)


def test_the_store_holds_every_image_by_class_and_drops_the_oldest() -> None:
    method, stored = emscnet()
    queue = {c: [stored[i] for i in range(9) if LABELS[0, i] == c] for c in range(3)}
    for step in range(4):
        truth = torch.tensor([[0, 2, 0, 1]])
        images = torch.randn(4, 3, 2, 2)
        slow = [b.clone() for n, b in method.named_buffers() if n.startswith("slow_")]
        features = method.image_features(images)
        method.losses(features, truth).sum().backward()
        for i, label in enumerate(truth[0].tolist()):
            queue[label] = [*queue[label][1:], method._fresh[i]]
        for label in range(3):
            held = method.stored[method.labels == label]
            assert sorted(map(tuple, held.tolist())) == sorted(tuple(f.tolist()) for f in queue[label])
        after = [b for n, b in method.named_buffers() if n.startswith("slow_")]
        for old, new, parameter in zip(slow, after, method.setting.model.module.parameters(), strict=True):
            torch.testing.assert_close(new, 0.999 * old + 0.001 * parameter.detach(), atol=1e-7, rtol=0)
            parameter.data += 0.1 * (step + 1)


def test_fresh_features_are_the_slow_copys() -> None:
    method, _ = emscnet()
    module = method.setting.model.module
    before = module.weight.detach().clone(), module.bias.detach().clone()
    module.weight.data += 1.0
    images = torch.randn(4, 3, 2, 2)
    method._turns.manual_seed(0)
    turned = _turned(images, torch.randint(4, (4,), generator=torch.Generator().manual_seed(0)))
    features = method.image_features(images)
    torch.testing.assert_close(features, module(turned.flatten(1)))
    due = nn.functional.normalize(turned.flatten(1) @ before[0].T + before[1], dim=-1)
    torch.testing.assert_close(method._fresh, due)


def test_what_is_drawn_is_of_the_right_classes() -> None:
    method, _ = emscnet()
    labels = torch.tensor([0, 1, 2])
    positive, negative = method._drawn(labels)
    assert positive.shape == (3, 3, 64)
    assert negative.shape == (3, 6, 64)
    for label in range(3):
        rows = {tuple(f.tolist()) for f in method.stored[method.labels == label]}
        assert {tuple(f.tolist()) for f in positive[label]} <= rows
        assert not {tuple(f.tolist()) for f in negative[label]} & rows
