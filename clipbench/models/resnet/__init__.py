"""ResNets by name, plain or with the attention of scene classifiers, as image towers under a linear head.

``resnet50``, ``resnet101`` and ``clipbench-random-resnet`` (small, for smoke runs). Behind it may stand, in this order:
``-v1`` for the stride in the first 1x1 convolution of a block (He et al., CVPR 2016, and GluonCV's v1; without it, in
the 3x3, as torchvision and timm have it), and a gate of every block: ``resnet50-v1-eam``, ``resnet50-mbla``.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import timm
import torch
from torch import Tensor

from clipbench.errors import MissingWeightsError, UserError
from clipbench.models.image_tower import IMAGENET_MEAN, IMAGENET_STD, ImageTower, weights_digest
from clipbench.models.resnet.network import BODIES, GATES, Form, ResNet, load_body
from clipbench.models.weights.files import check_file, check_numbers, fault, read_tensors, unwrapped
from clipbench.models.weights.hub import fetching
from clipbench.models.weights.sources import Sources

_NO_FILES = Sources()


def load_backbone(backbone: str, weights: str, sources: Sources = _NO_FILES, *, seed: int = 0) -> ImageTower:
    """A ResNet without its classifier, on the CPU in float32. It takes images of any size.

    ``weights`` is a timm tag of the plain network (``tv_in1k`` are torchvision's), ``random`` (drawn from ``seed``), or
    the digest of ``sources.weights``. Weights of the plain network fill one with gates as well, whose gates start at
    random. Its tokens are the positions of the last map; its own pooling is their mean. Raises ``UserError`` for
    unknown names, failed downloads, files that do not fit.
    """
    form = named(backbone)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ResNet(form)
    if sources.weights is not None:
        load_body(model, _read(model, sources.weights), backbone, str(sources.weights))
    elif weights != "random":
        load_body(model, _pretrained(form, backbone, weights), backbone, f"timm's {form.body}.{weights}")
    return ImageTower(
        module=model.eval(),
        tokens=partial(_tokens, model),
        norm=torch.nn.Identity(),
        prefix=0,
        width=model.width,
        image_size=form.image_size,
        any_size=True,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        name=backbone,
        weights=weights,
        weights_sha256=weights_digest(model),
        own_pooling="token-mean",
    )


def named(backbone: str) -> Form:
    """What a name stands for. Raises ``UserError`` with the names that there are."""
    body = next((name for name in BODIES if f"{backbone}-".startswith(f"{name}-")), "")
    words = backbone.removeprefix(body).split("-")[1:]
    first = words[:1] == ["v1"]
    gate = "-".join(words[first:])
    if not body or gate not in ("", *GATES):
        raise UserError(
            f"no ResNet is called {backbone!r}; there are {', '.join(BODIES)}, each with -v1 for the stride in the 1x1 "
            f"convolution, and then with -{', -'.join(GATES)} for the attention behind every block."
        )
    return Form(body, stride_in_first=first, gate=gate)


def _read(model: ResNet, path: Path) -> dict[str, Tensor]:
    """The tensors of a user's file. Raises ``MissingWeightsError`` for what is none."""
    check_file(path)
    try:
        tensors = unwrapped(read_tensors(path), list(model.state_dict()))
    except Exception as error:
        raise MissingWeightsError(f"the weights file {path} holds no tensors of a ResNet: {fault(error)}.") from error
    check_numbers(tensors, path)
    return tensors


def _pretrained(form: Form, backbone: str, tag: str) -> dict[str, Tensor]:
    """timm's own download of the plain network, whose names are torchvision's."""
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{form.body}.*")]
    if tag not in tags:
        raise MissingWeightsError(
            f"timm has no weights {tag!r} for {form.body}; it has {', '.join(tags) or 'none'}. "
            f"--weights FILE takes a local file."
        )
    with fetching(f"the weights {tag!r} of {backbone}"):
        state: dict[str, Tensor] = timm.create_model(f"{form.body}.{tag}", pretrained=True).state_dict()
    return state


def _tokens(model: ResNet, images: Tensor) -> Tensor:
    """The positions of the last map, ``[N, H * W, D]``."""
    found: Tensor = model(images).flatten(2).mT
    return found
