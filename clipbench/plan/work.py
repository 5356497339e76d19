"""The work of a run from the sizes of its model and data: operations, and bytes of memory. No PyTorch here.

Counted are the matrix products of both towers, forward and backward, and the activations that wait for the backward
pass. The products of adapters, heads and optimisers are a few per cent, and are left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clipbench.data.catalogue import entry
from clipbench.data.load import Datasets
from clipbench.errors import UserError
from clipbench.plan.towers import FLOAT, Towers, towers_of
from clipbench.registry import Protocol
from clipbench.registry.budget import budget, images_trained
from clipbench.registry.method_fields import Declared, declared_by

_ROWS = 256
"""Images in a forward pass without a gradient (``Classification.rows``)."""
_ENCODED = 128
"""Images in a pass for features that are kept (``FeatureBank``)."""
_KEPT, _AT_ONCE = 8192, 2048
"""Prompt tokens whose activations are kept, and those that are computed again together (``ImageText.encode_text``)."""
_ADAPTED = {"qv": (1, 2), "qkv": (1, 3), "qkvo": (1, 4), "attention": (1, 4), "attention+mixer": (1, 4)} | {
    "qkv+mlp": (6, 8),
    "all-linear": (6, 9),
}
"""Inputs that a frozen block does not keep, and inputs or outputs of all adapted matrices: multiples of the width."""
_SUBWORDS = 1.3
"""Tokens of a word of a class name, on average."""
_UNKNOWN_NAME = "class name"
"""Where the names come with the data (ImageNet), and the data are not here."""


@dataclass(frozen=True)
class Work:
    """One run.

    Attributes:
        flops: Of training and tests.
        activations: Bytes at the peak beside the weights, of one seed.
        weights: Bytes of the weights in float32.
        decoded: Bytes of the decoded images.
    """

    flops: float
    activations: float
    weights: float
    decoded: float


def work(protocol: Protocol, datasets: Datasets, config: Path | None = None) -> Work | None:
    """The work of one run, with the model of a user's ``config`` where the backbone is one.

    None for a model, a task or a method whose sizes are not known here.
    """
    try:
        towers = towers_of(protocol, config)
    except UserError:
        return None
    if towers is None or declared_by(protocol.method) is None:
        return None
    passed = _Passed.of(protocol, datasets, towers.tokens)
    if towers.prompt:
        passed = replace(passed, length=float(towers.prompt))
    flops = _image_flops(passed, towers) + _text_flops(passed, towers)
    pixels = 3 * int(protocol.need("image_size")) ** 2
    decoded = (passed.test + (0 if passed.crops else passed.train)) * pixels
    return Work(flops, _activations(passed, towers, pixels), FLOAT * towers.parameters, decoded)


@dataclass(frozen=True)
class _Passed:
    """What passes through the towers, how often, and where a gradient goes.

    Attributes:
        train: Training images.
        test: Test images.
        trained: Training images over all epochs.
        batch: Images of a step; 0 where nothing is trained.
        steps: Steps of the optimiser.
        tests: How often the test images are looked at.
        views: Training views that an image has, where they repeat.
        crops: No two training views are alike.
        classes: Prompts; 0 under a linear head.
        length: Tokens of a prompt.
        tokens: Of an image, learned ones included.
        images_move: A gradient passes through the image tower.
        texts_move: Likewise through the text tower.
        weights_move: All weights of what a gradient passes through are trained.
        per_image: Every image has prompts of its own.
        copies: How often each image passes, under prompts of its own each time.
        adapters: Bytes that adapters keep for every token, block and unit of the width.
    """

    train: int
    test: int
    trained: int
    batch: int
    steps: int
    tests: int
    views: int
    crops: bool
    classes: int
    length: float
    tokens: float
    images_move: bool
    texts_move: bool
    weights_move: bool
    per_image: bool
    copies: int
    adapters: float

    @classmethod
    def of(cls, protocol: Protocol, datasets: Datasets, tokens: int) -> _Passed:
        """Everything but the towers' sizes."""
        train, test = datasets.sizes(protocol)
        steps = budget(protocol, train).steps
        declared = declared_by(protocol.method)
        through = declared.gradient_through if declared else ""
        if declared and not through and "towers" in declared.uses:
            through = str(protocol.need("towers"))
        names = [] if protocol.need("task") == "linear-head" else _prompt_names(protocol, datasets)
        context = int(protocol.get("context_tokens") or 0)
        images_move = steps > 0 and through in ("vision", "both", "all", "weights")
        return cls(
            train=train,
            test=test,
            trained=images_trained(protocol, train),
            batch=min(protocol.need("batch_size"), train) if steps else 0,
            steps=steps,
            tests=protocol.epochs if protocol.tested == "every-epoch" and protocol.epochs else 1,
            views=4 if protocol.vflip else 2 if protocol.hflip else 1,
            crops=protocol.train_transform == "random-resized-crop",
            classes=len(names) * _prompts_of_a_class(protocol, declared),
            length=_prompt_length(protocol, datasets, names, context),
            tokens=tokens + (context if images_move else 0),
            images_move=images_move,
            texts_move=steps > 0 and bool(names) and through in ("text", "both", "all", "weights"),
            weights_move=through == "weights",
            per_image=bool(declared and declared.prompts_per_image),
            copies=protocol.need(declared.image_copies) if declared and declared.image_copies else 1,
            adapters=_kept_by_adapters(protocol, declared),
        )

    @property
    def passes(self) -> int:
        """Forward passes that a training step costs: the gradient of states is as much, that of weights as well."""
        return 3 if self.weights_move else 2

    @property
    def prompt_tokens(self) -> float:
        """Prompt tokens of one step, or of one encoding."""
        return self.classes * self.length * (self.batch if self.per_image else 1)


def _image_flops(passed: _Passed, towers: Towers) -> float:
    one = towers.vision.flops(passed.tokens)
    if passed.images_move:
        return one * passed.copies * (passed.passes * passed.trained + passed.tests * passed.test)
    trained = passed.trained if passed.crops else min(passed.trained, passed.views * passed.train)
    return one * (trained + passed.test)


def _text_flops(passed: _Passed, towers: Towers) -> float:
    all_classes = passed.classes * towers.text.flops(passed.length)
    if passed.per_image:  # encoded piecewise, and again in the backward pass
        return all_classes * (3 * passed.trained + passed.tests * passed.test)
    if not passed.texts_move:
        return all_classes
    again = max(1 - _KEPT / passed.prompt_tokens, 0)
    return all_classes * (passed.steps * (passed.passes + again) + passed.tests)


def _activations(passed: _Passed, towers: Towers, pixels: int) -> float:
    """The larger one of a training step and of a batch of test images; the batch as float32 stands beside both."""
    rows = min(_ROWS if passed.images_move else _ENCODED, passed.test)
    test = rows * (passed.tokens * towers.vision.passing + FLOAT * pixels)
    weights = passed.weights_move
    train: float = FLOAT * pixels * passed.batch
    if passed.images_move:
        train += (
            passed.copies * passed.batch * passed.tokens * towers.vision.kept(weights=weights, adapters=passed.adapters)
        )
    if passed.texts_move:
        kept = min(passed.prompt_tokens, _KEPT) + min(max(passed.prompt_tokens - _KEPT, 0), _AT_ONCE)
        train += kept * towers.text.kept(weights=weights, adapters=passed.adapters)
    trained = 4 * FLOAT * towers.parameters if weights else 0  # gradient, two averages of Adam, the optimiser's step
    return max(test, train + trained)


def _kept_by_adapters(protocol: Protocol, declared: Declared | None) -> float:
    """The common input of the adapted matrices, a mask of one byte for each that drops, and what a norm multiplies."""
    if declared is None or not {"adapter_dropout", "targets"} <= {*declared.uses}:
        return 0.0
    inputs, matrices = _ADAPTED[protocol.need("targets")]
    masks = matrices if protocol.need("adapter_dropout") else 0
    return FLOAT * (inputs + (matrices if "norm_axis" in declared.uses else 0)) + masks


def _prompts_of_a_class(protocol: Protocol, declared: Declared | None) -> int:
    return len(str(protocol.need(declared.prompt_copies)).split("|")) if declared and declared.prompt_copies else 1


def _prompt_names(protocol: Protocol, datasets: Datasets) -> Sequence[str]:
    """The classes' names as prompts have them, of the data that are here or of the catalogue."""
    if protocol.dataset in datasets.user_data or protocol.profile == "smoke":
        return list(datasets.images(protocol).prompt_names)
    official = entry(protocol.need("dataset"))
    return [official.prompt_name(name) for name in official.classes] or [_UNKNOWN_NAME] * official.class_count


def _prompt_length(protocol: Protocol, datasets: Datasets, names: Sequence[str], context: int) -> float:
    """Tokens of a prompt, start and end included: of the template, or of the context in its place, and the name."""
    if not names:
        return 0.0
    template = str(protocol.need("template"))
    if template == "dataset" and protocol.dataset not in datasets.user_data:
        template = entry(protocol.need("dataset")).template
    around = context + 1 if context else len(_words(template.replace("{}", " ")))
    return 2 + around + _SUBWORDS * sum(len(_words(name)) for name in names) / len(names)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)
