"""CONTRIBUTING.md's four recipes, each carried out in a copy of the repository and run by the command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clipbench.registry import registry_dir

REPOSITORY = Path(__file__).resolve().parents[1]

METHOD = '''
"""A trained factor on each class's logit, ``1 + factor``; an example for the recipe."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from clipbench.methods.base import Method, Setting
from clipbench.registry.field import Field


class ClassScale(Method):
    """Trained is ``factor`` ``[R, 1, C]``, which starts at ``scale_start``."""

    seed_axis: ClassVar[bool] = True
    fields: ClassVar[tuple[Field, ...]] = (Field("scale_start", float, "where the factor less one starts"),)

    def setup(self, setting: Setting) -> None:
        super().setup(setting)
        shape = len(setting.seeds), 1, len(setting.classes)
        self.factor = nn.Parameter(torch.full(shape, setting.protocol.need("scale_start"), device=setting.device))

    def logits(self, features: Tensor) -> Tensor:
        return super().logits(features) * (1 + self.factor)
'''
DATASET = """
name = "Ponds"
family = "scene-folders"
folders = ["ponds"]
format = "png"
image_size = "64 x 64"
licence = "none"
home = "https://example.org/ponds"
how = "Unpack ponds.zip."
citation = "@misc{ponds, title = {Ponds}}"

[classes]
lake = 20
marsh = 20
pool = 20
"""
PAPER = """
id = "ponds"
short = "Ponds"
title = "Probing ponds"
reference = "No authors, no journal"
bibtex = "@misc{probing, title = {Probing ponds}}"

[protocols.probe]
task = { value = "linear-head", stated = "sec. 1" }
method = { value = "linear-probe", stated = "sec. 1" }
backbone = { value = "ViT-B-16-quickgelu", stated = "sec. 1" }
weights = { value = "openai", stated = "sec. 1" }
split_rule = { value = "stratified-fraction", stated = "sec. 1" }
split_draw = { value = "per-repetition", stated = "sec. 1" }
image_size = { value = 224, stated = "sec. 1" }
normalisation = { value = "clip", stated = "sec. 1" }
interpolation = { value = "bicubic", stated = "sec. 1" }
exif = { value = "ignore", stated = "sec. 1" }
pixel_range = { value = "full-scale", stated = "sec. 1" }
train_transform = { value = "resize", stated = "sec. 1" }
test_transform = { value = "resize", stated = "sec. 1" }
hflip = { value = 0.0, stated = "sec. 1" }
vflip = { value = 0.0, stated = "sec. 1" }
pooling = { value = "cls", stated = "sec. 1" }
head_bias = { value = true, stated = "sec. 1" }
head_init = { value = "zeros", stated = "sec. 1" }
head_dropout = { value = 0.0, stated = "sec. 1" }
optimiser = { value = "sgd", stated = "sec. 1" }
momentum = { value = 0.9, stated = "sec. 1" }
nesterov = { value = false, stated = "sec. 1" }
dampening = { value = 0.0, stated = "sec. 1" }
weight_decay = { value = 0.0, stated = "sec. 1" }
lr = { assumed = "rate" }
schedule = { value = "constant", stated = "sec. 1" }
epochs = { value = 5, stated = "sec. 1" }
batch_size = { value = 16, stated = "sec. 1" }
drop_last = { value = false, stated = "sec. 1" }
loss = { value = "cross-entropy", stated = "eq. (1)" }
precision = { value = "fp32", stated = "sec. 1" }
tested = { value = "last", stated = "sec. 1" }
selection = { value = "last", stated = "sec. 1" }

[recipes.probe.set]

[smoke.probe]
seeds = [1]
set = { backbone = "clipbench-tiny", weights = "embedded", image_size = 64 }
"""
TABLE = """
kind = "table"
printed = "Table 1"
title = "Accuracy of a probe"
protocol = "probe"
metric = "accuracy"
unit = "%"
seeds = [1, 2]
rows = [{ id = "probe", printed = "Probe", recipe = "probe" }]
columns = [{ id = "ucm-80", printed = "UCM", dataset_name = "UCM", set = { dataset = "ucm", train_fraction = 0.8 } }]
"""
ASSUMPTIONS = """
[[assumption]]
id = "rate"
question = "What is the learning rate?"
take = "tenth"
why = "Not stated."
[assumption.choices]
tenth = { set = { lr = 0.1 }, means = "0.1" }
one = { set = { lr = 1.0 }, means = "1" }
"""
PRINTED = """experiment,row,column,metric,value,std,n,unit,decimals,raw,provenance,reference,line,note
table1,probe,ucm-80,accuracy,91.50,,,%,2,91.50,measured,,1,
"""
BACKBONE = '''
"""An image tower that sees nothing but mean colours of patches; an example for the recipe."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from clipbench.models.image_tower import IMAGENET_MEAN, IMAGENET_STD, ImageTower, weights_digest
from clipbench.models.weights.sources import Sources


def load_backbone(backbone: str, weights: str, sources: Sources = Sources()) -> ImageTower:
    """Tokens are the mean colours of an 8 x 8 grid of patches."""
    module = nn.Identity()
    return ImageTower(
        module=module, tokens=_tokens, norm=module, prefix=0, width=3, image_size=64, own_pooling="token-mean",
        mean=IMAGENET_MEAN, std=IMAGENET_STD, name=backbone, weights=weights, weights_sha256=weights_digest(module),
    )


def _tokens(images: Tensor) -> Tensor:
    return functional.adaptive_avg_pool2d(images, 8).flatten(2).transpose(1, 2)
'''


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package and the registry, where recipes may change files."""
    root = tmp_path_factory.mktemp("repository")
    leave = shutil.ignore_patterns("__pycache__", "speed")
    shutil.copytree(REPOSITORY / "clipbench", root / "clipbench", ignore=leave)
    shutil.copytree(registry_dir(), root / "benchmarks", ignore=leave)
    return root


def add(path: Path, text: str, *, before: str = "") -> None:
    """Write a new file, or put a line into an old one, before the text ``before``."""
    if not before:
        path.parent.mkdir(exist_ok=True)
        assert not path.exists()
        path.write_text(text.lstrip("\n"), encoding="utf-8")
        return
    old = path.read_text(encoding="utf-8")
    assert old.count(before) == 1, f"{path.name} has changed: mend this test, and CONTRIBUTING.md with it"
    path.write_text(old.replace(before, text + before), encoding="utf-8")


def clipbench(copy: Path, *words: str) -> str:
    """What a command of the copy prints."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "clipbench", *words]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def record_of(folder: Path) -> Any:
    """The one record in a folder of results."""
    (path,) = folder.rglob("record.json")
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_method(copy: Path) -> None:
    add(copy / "clipbench/methods/class_scale.py", METHOD)
    line = '    "class-scale": "clipbench.methods.class_scale:ClassScale",\n'
    add(copy / "clipbench/methods/__init__.py", line, before='    "full": ')
    recipe = '[recipes.class-scale.set]\nmethod = "class-scale"\nscale_start = { value = 0.0, stated = "sec. 1" }\n\n'
    add(copy / "benchmarks/clip_dora/paper.toml", recipe, before="[recipes.taskres]\n")
    recipes = "coop-training+sgd-warmup+coop-epochs+class-scale"
    row = f'  {{ id = "scale", printed = "Class scale", extra = true, recipe = "{recipes}", set = {{ shots = 1 }} }},\n'
    add(copy / "benchmarks/clip_dora/table1.toml", row, before='  { id = "coop-4-1shot"')
    words = ("--only", "row=scale,dataset=dtd", "--seeds", "1", "--epochs", "1", "--out", "method")
    clipbench(copy, "run", "fewshot", "--smoke", *words)
    record = record_of(copy / "method")
    assert record["protocol"]["method"] == "class-scale"
    assert record["model"]["trainable_parameters"] == 9  # a factor for each of the subset's classes


def test_a_data_set(copy: Path) -> None:
    add(copy / "clipbench/data/catalogue/ponds.toml", DATASET)
    line = '    Subset("ponds", ["lake", "marsh", "pool"], {"": 20}, view="overhead"),\n'
    add(copy / "clipbench/data/painted/subsets.py", line, before="    # Few-shot: enough")
    column = '  { id = "ponds", printed = "Ponds", set = { dataset = "ponds", train_fraction = 0.8 } },\n'
    add(copy / "benchmarks/lora_clip/table1.toml", column, before='  { id = "ucm-80"')
    assert "ponds" in clipbench(copy, "data", "list")
    words = ("--only", "column=ponds,row=linear-probe", "--seeds", "1", "--out", "data")
    clipbench(copy, "run", "table1", "--smoke", *words)
    assert record_of(copy / "data")["protocol"]["dataset"] == "ponds"


def test_a_paper(copy: Path) -> None:
    files = {"paper.toml": PAPER, "table1.toml": TABLE, "assumptions.toml": ASSUMPTIONS, "published.csv": PRINTED}
    for name, text in files.items():
        add(copy / "ponds" / name, text)
    clipbench(copy, "validate", "ponds")
    clipbench(copy, "run", "ponds/table1", "--papers", "ponds", "--smoke", "--out", "paper")
    said = clipbench(copy, "compare", "ponds/table1", "--papers", "ponds", "--paper", "--out", "paper")
    assert "91.5" in said


def test_a_backbone(copy: Path) -> None:
    add(copy / "clipbench/models/colours.py", BACKBONE)
    add(copy / "clipbench/models/__init__.py", '    "colours": "colours",\n', before='    TINY_VIT: "timm"')
    add(copy / "clipbench/models/__init__.py", '    "colours": 64,\n', before="    TINY_VIT: 64")
    add(copy / "clipbench/models/load.py", '    "colours": "clipbench.models.colours",\n', before='    "timm": ')
    words = ("--backbone", "colours", "--weights", "random", "--only", "column=ucm-80,row=linear-probe")
    clipbench(copy, "run", "table1", "--smoke", *words, "--seeds", "1", "--out", "backbone")
    assert record_of(copy / "backbone")["protocol"]["backbone"] == "colours"
