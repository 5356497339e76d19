"""MaPLe beside synthetic images: the class list, the batches and the training of the official numbers.

Stored folder, split, batch plan and class list are a run's; pixels are the fixture's, which no image file could hold.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from clipbench.data.images import ImageSet
from clipbench.data.splits import split
from clipbench.data.synthetic import with_synthetic
from clipbench.data.synthetic.manifest import Manifest, Picture
from clipbench.engine.batches.synthetic import Synthetic
from clipbench.engine.batches.views import EpochPlan, batches
from clipbench.engine.tasks.prompts import prompts_of
from clipbench.registry import Protocol
from tests.factory import protocol_of
from tests.methods.test_maple import theirs
from tests.parity.official_trial import SGD, Trial, apart, images, official

FIXTURE = official("maple_sd")
SOURCES = ("art_painting", "cartoon", "photo")


def _protocol() -> Protocol:
    says = FIXTURE.settings
    row = protocol_of("clip-dora/table3", "maple-sd", "pacs").as_dict() | SGD | {"epochs": 1, "lr": says["lr"]}
    row = {name: value for name, value in row.items() if not name.startswith("warmup")}
    return Protocol.of({**row, "test_domain": "sketch", "precision": "fp32", "schedule": "constant"})


def _data(folder: Path) -> ImageSet:
    """Twelve real images of the six classes, in turn of the three source domains, and one synthetic image of each."""
    found = ImageSet("pacs", folder, classes=FIXTURE.classes, prompt_names=FIXTURE.classes)
    for number, label in enumerate(images()[1].tolist()):
        found.add(f"{number}.png", label, domain=SOURCES[number % 3])
    found.add("test.png", 0, domain="sketch")
    pictures = []
    for name in SOURCES:
        path = folder / name / "0.png"
        path.parent.mkdir()
        path.write_bytes(name.encode())
        pictures.append(Picture(f"{name}/0.png", name, "an object", hashlib.sha256(name.encode()).hexdigest()))
    Manifest("pacs", {"name": "by hand"}, None, pictures).write(folder)
    return with_synthetic(found, folder)


def test_maple_beside_synthetic_images_is_the_official_one(tmp_path: Path) -> None:
    protocol, (real, _) = _protocol(), images()
    data = _data(tmp_path)
    cut, prompts = split(data, protocol, 1), prompts_of(data, protocol)
    assert list(prompts.names) == FIXTURE.settings["classes"]
    synthetic = Synthetic.of(data, cut, protocol)
    assert synthetic is not None
    size = protocol.need("batch_size")
    plan = EpochPlan(0, torch.tensor([list(cut.train)]), batches(12, size, drop_last=True))
    mixed = synthetic.beside(plan, [1], 0)
    pixels = torch.cat([real, torch.zeros(1, *real.shape[1:]), FIXTURE["synthetic_images"]])
    labels = torch.tensor(data.labels)
    run = Trial(protocol.as_dict(), prompts.names, prompts.template)
    ids = run.method.prompts().ids
    assert torch.equal(ids, FIXTURE["tokens"][:, : ids.shape[1]])
    run.put(theirs("init.", FIXTURE))
    assert apart({"": run.logits(real)}, {"": FIXTURE["logits_init"]}) <= FIXTURE.within("logits")
    for step, part in enumerate(mixed.parts, start=1):
        index = mixed.order[0, part]
        truth = prompts.columns(labels[index])
        assert truth.tolist()[size:] == [6, 6, 6]
        loss = run.step(pixels[index], truth)
        assert loss == pytest.approx(float(FIXTURE[f"loss_step{step}"]), abs=FIXTURE.within("losses and loss terms"))
        if step == 1:
            assert apart(run.gradients(), theirs("grad.", FIXTURE)) <= FIXTURE.within("gradients (absolute)")
        if step != 2:
            assert apart(run.learnables(), theirs(f"step{step}.", FIXTURE)) <= FIXTURE.within("learnables after steps")
    assert apart({"": run.logits(real)}, {"": FIXTURE["logits_step3"]}) <= FIXTURE.within("logits after 3 steps")
