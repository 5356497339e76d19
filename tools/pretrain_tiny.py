"""`python tools/pretrain_tiny.py --out DIR`: make the weights of the tiny model in `clipbench/models/tiny`.

First the image tower learns where each concept lies in the joint space, then the text tower learns to name it; some
minutes on one core. The model meets the classes of the smoke subsets, but mostly in photographs, in another shade, with
part of the labels wrong and not all of them named; so it is useful on the subsets without being sufficient, which is
what a smoke test of adaptation needs. Deterministic at a fixed seed on one machine.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import math
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from clipbench.data.painted import SUBSETS, Subset
from clipbench.data.painted.digits import digit_thing
from clipbench.data.painted.rendering import RENDERINGS, arrange, render
from clipbench.data.painted.shapes import look
from clipbench.data.painted.streams import stream
from clipbench.data.painted.subset import PIXELS
from clipbench.models.tiny import tiny_provenance_path, tiny_weights_path
from clipbench.models.tiny.weights import new_model, save_weights

BATCH = 64
PATCHES = 20  # of 64 are looked at, for speed (FLIP, Li et al., 2023)
WHOLE_STEPS = 32  # at the end look at all of them
PEAK_LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.1
WARMUP_STEPS = 40
FEATURE_SCALE = 3.0
WRONG_LABELS = 0.1
UNNAMED = 0.15
DIGIT_TURNS = 3
FIRST_SCAN = 100  # the subsets use the scans of digits before it
MEAN = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(3, 1, 1)
STD = torch.tensor(open_clip.OPENAI_DATASET_STD).view(3, 1, 1)

WAYS: Mapping[str, Mapping[str, float]] = {
    "photo": {"photo": 0.5, "art": 0.15, "cartoon": 0.15, "sketch": 0.2},
    "overhead": {"overhead": 0.9, "photo": 0.1},
    "texture": {"texture": 0.9, "photo": 0.1},
    "digit": {"mnist": 0.4, "syn": 0.3, "svhn": 0.3},
}
"""View of a subset -> ways of rendering in pretraining, and the share of each."""

TEMPLATES: Sequence[str] = (
    "a photo of a {}.",
    "a photo of a {}",
    "a photo of {}, a type of {kind}.",
    "a centered satellite photo of {}.",
    "{} texture.",
    "a photo of a person doing {}.",
    "a picture of the {}.",
)


@dataclass(frozen=True)
class Concept:
    """A class name in words, what kind of thing it is, and how the subsets show it."""

    words: str
    kind: str
    view: str


@dataclass(frozen=True)
class Example:
    """One image to be painted, and the number of the concept that it is said to show."""

    concept: Concept
    way: str
    label: int
    number: int

    def paint(self) -> NDArray[np.uint8]:
        """The image, uint8 [64, 64, 3]."""
        rng, way = stream("pretraining", self.concept.words, self.number), RENDERINGS[self.way]
        if self.concept.view == "digit":
            scan = FIRST_SCAN + int(rng.integers(70))
            return render([digit_thing(int(self.concept.words), scan, rng, PIXELS)], way, rng, PIXELS)
        shown = look(self.concept.words, "pretraining", self.concept.kind)
        return render(arrange(shown, way, rng, PIXELS), way, rng, PIXELS)


def concepts() -> list[Concept]:
    """What the pictures show: the classes of the subsets."""
    found = {
        Concept(
            subset.entry.prompt_name(name).lower(),
            subset.kind,
            "digit" if subset.dataset == "digits_dg" else subset.view,
        )
        for subset in SUBSETS.values()
        if not subset.kinds
        for name in subset.classes
    }
    return sorted(found, key=lambda concept: (concept.words, concept.kind, concept.view))


def draw_examples(count: int, seed: int | str) -> list[Example]:
    """Draw `count` examples; concepts take turns, digits `DIGIT_TURNS` times, and the rest is random."""
    rng, known = stream("pretraining examples", seed), concepts()
    turns = [n for n, concept in enumerate(known) for _ in range(DIGIT_TURNS if concept.view == "digit" else 1)]
    offset, examples = int(rng.integers(2**40)), []
    for index in range(count):
        label = said = turns[index % len(turns)]
        shares = WAYS[known[label].view]
        way = str(rng.choice(list(shares), p=list(shares.values())))
        if rng.random() < WRONG_LABELS:
            said = int(rng.integers(len(known)))
        examples.append(Example(known[label], way, said, offset + index))
    return examples


def paint_all(examples: Sequence[Example], workers: int) -> Tensor:
    """Paint every example's image, uint8 [n, 64, 64, 3], with several processes; the result does not depend on them."""
    with ProcessPoolExecutor(workers) as pool:
        return torch.from_numpy(np.stack(list(pool.map(Example.paint, examples, chunksize=64))))


def normalised(images: Tensor) -> Tensor:
    """uint8 [B, 64, 64, 3] -> float [B, 3, 64, 64] with OpenAI's mean and standard deviation."""
    return (images.permute(0, 3, 1, 2).float() / 255 - MEAN) / STD


def image_features(model: open_clip.CLIP, pixels: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Unit image features [B, D] of uint8 images, from the class token and from the mean of the patch tokens.

    Both are trained: at this size, patch tokens that no loss reaches would say little, and pooling them is what
    LoRA-CLIP does. `keep` are the numbers of the patches that are looked at; all of them by default.
    """
    visual = model.visual
    tokens = visual._embeds(normalised(pixels))
    if keep is not None:
        tokens = torch.cat([tokens[:, :1], tokens[:, 1 + keep]], dim=1)
    tokens = visual.ln_post(visual.transformer(tokens))
    return normalize(tokens[:, 0] @ visual.proj, dim=-1), normalize(tokens[:, 1:].mean(dim=1) @ visual.proj, dim=-1)


def encode_short(model: open_clip.CLIP, tokens: Tensor) -> Tensor:
    """Unit text features [B, D] of token ids [B, n] with n below the context length.

    The same features as with padding: the transformer is causal and is read at the end-of-text token.
    """
    length = tokens.shape[1]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    return normalize(x[torch.arange(len(x)), tokens.argmax(dim=1)] @ model.text_projection, dim=-1)


def anchors_of(known: Sequence[Concept], width: int) -> Tensor:
    """A unit vector [C, width] for each concept, so that what looks alike lies together.

    It is a fixed random rotation of the class's colours, count and outline.
    """
    traits = np.stack([_traits(concept) for concept in known])
    spread = (traits - traits.mean(axis=0)) / traits.std(axis=0)
    rotation, _ = np.linalg.qr(stream("anchors").standard_normal((width, width)))
    return normalize(torch.from_numpy(spread @ rotation[: spread.shape[1]]).float(), dim=-1)


def _traits(concept: Concept) -> NDArray[np.floating]:
    shown = look(concept.words, "pretraining", concept.kind)
    waves = shown.outline.harmonics
    return np.concatenate([shown.body, shown.core, np.eye(4)[shown.count - 1], waves.real, waves.imag])


def train_image_tower(
    model: open_clip.CLIP,
    images: Tensor,
    labels: Tensor,
    anchors: Tensor,
    epochs: int,
    order: torch.Generator,
) -> None:
    """Train the image tower in place to find the concept's vector among all [C, D]."""
    steps = epochs * len(images) // BATCH
    optimiser, schedule = _optimiser([*model.visual.parameters(), model.logit_scale], steps)
    for step in range(steps):
        batch = torch.randint(len(images), (BATCH,), generator=order)
        pixels = images[batch].flip(2) if torch.rand((), generator=order) < 0.5 else images[batch]
        keep = torch.randperm(64, generator=order)[: PATCHES if step < steps - WHOLE_STEPS else 64]
        scaled = model.logit_scale.exp() * anchors.T
        pooled = image_features(model, pixels, keep)
        loss = torch.stack([cross_entropy(each @ scaled, labels[batch]) for each in pooled]).mean()
        _step(loss, optimiser, schedule)
        if step % 32 == 31:
            print(f"images, step {step + 1} of {steps}: loss {loss.item():.4f}", flush=True)


def train_text_tower(model: open_clip.CLIP, anchors: Tensor, steps: int, rng: np.random.Generator) -> list[str]:
    """Train the text tower in place to meet the concepts' vectors [C, D], and return the captions that it read.

    The image tower stays as it is (LiT, Zhai et al., 2022).
    """
    known = concepts()
    named = [n for n, concept in enumerate(known) if stream("named", concept.words).random() >= UNNAMED]
    parameters = [p for name, p in model.named_parameters() if not name.startswith("visual") and name != "logit_scale"]
    optimiser, schedule = _optimiser(parameters, steps)
    seen: set[str] = set()
    for step in range(steps):
        chosen = rng.permutation(named)[: 2 * BATCH]
        captions = [_caption(known[n], rng) for n in chosen]
        seen.update(captions)
        tokens = open_clip.tokenize(captions)
        tokens = tokens[:, : int((tokens != 0).sum(dim=1).max())]
        logits = model.logit_scale.exp().detach() * encode_short(model, tokens) @ anchors.T
        loss = _step(cross_entropy(logits, torch.from_numpy(chosen)), optimiser, schedule)
        if step % 20 == 19:
            print(f"texts, step {step + 1} of {steps}: loss {loss:.4f}", flush=True)
    return sorted(seen)


def _caption(concept: Concept, rng: np.random.Generator) -> str:
    template = TEMPLATES[int(rng.integers(len(TEMPLATES)))]
    return template.format(concept.words, kind=concept.kind or "thing")


def _step(loss: Tensor, optimiser: AdamW, schedule: LambdaLR) -> float:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for group in optimiser.param_groups for p in group["params"]], 1.0)
    optimiser.step()
    schedule.step()
    return loss.item()


def _optimiser(parameters: Sequence[torch.nn.Parameter], steps: int) -> tuple[AdamW, LambdaLR]:
    """AdamW with warm-up and cosine decay; vectors are not decayed."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = AdamW(groups, lr=PEAK_LEARNING_RATE, betas=(0.9, 0.98))

    def factor(step: int) -> float:
        return min((step + 1) / WARMUP_STEPS, 0.5 * (1 + math.cos(math.pi * step / steps)))

    return optimiser, LambdaLR(optimiser, factor)


def enlarge_features(model: open_clip.CLIP, factor: float) -> None:
    """Multiply the tokens before the projection by `factor`, and the projection by its inverse.

    The joint space stays as it is. A linear head on the tokens sees features as long as those of ViT-L/14, which has
    eleven times as many of them, and so learns as fast.
    """
    with torch.no_grad():
        model.visual.ln_post.weight.mul_(factor)
        model.visual.ln_post.bias.mul_(factor)
        model.visual.proj.div_(factor)


@torch.inference_mode()
def zero_shot(model: open_clip.CLIP, subset: Subset, domain: str = "") -> float:
    """Accuracy in percent on a subset's pictures, at most eight of each class, with CLIP's plain prompt."""
    numbers = range(min(8, subset.images_per_class))
    images = np.stack([subset.paint(name, number, domain) for name in subset.classes for number in numbers])
    prompts = [f"a photo of a {subset.entry.prompt_name(name)}." for name in subset.classes]
    text = model.encode_text(open_clip.tokenize(prompts), normalize=True)
    found = (model.encode_image(normalised(torch.from_numpy(images)), normalize=True) @ text.T).argmax(dim=1)
    truth = torch.arange(len(subset.classes)).repeat_interleave(len(numbers))
    return round(100 * (found == truth).float().mean().item(), 1)


def measured(model: open_clip.CLIP) -> dict[str, float | dict[str, float]]:
    """Zero-shot accuracy on every subset with classes, by domain where there are several."""
    return {
        name: {domain: zero_shot(model, subset, domain) for domain in subset.domains}
        if subset.domains
        else zero_shot(model, subset)
        for name, subset in SUBSETS.items()
        if not subset.kinds
    }


def export(model: open_clip.CLIP, captions: Sequence[str], out: Path, facts: Mapping[str, object]) -> None:
    """Write the weights and, beside them, how they came about and how well they do."""
    out.mkdir(parents=True, exist_ok=True)
    save_weights(model, open_clip.tokenize(captions).flatten().tolist(), tiny_weights_path(out))
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()  # noqa: S607
    provenance = {
        "sha256": hashlib.sha256(tiny_weights_path(out).read_bytes()).hexdigest(),
        **facts,
        "zero_shot_accuracy": measured(model.eval()),
        "commit": commit,
        "torch": torch.__version__,
        "open_clip": open_clip.__version__,
        "date": datetime.date.today().isoformat(),
    }
    tiny_provenance_path(out).write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Pretrain as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights and their provenance")
    parser.add_argument("--images", type=int, default=10_240)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--text-steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    started = time.monotonic()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    order = torch.Generator().manual_seed(arguments.seed)
    examples = draw_examples(arguments.images, arguments.seed)
    images, labels = paint_all(examples, workers=2), torch.tensor([example.label for example in examples])
    model = new_model().train()
    anchors = anchors_of(concepts(), model.visual.output_dim)
    train_image_tower(model, images, labels, anchors, arguments.epochs, order)
    captions = train_text_tower(model, anchors, arguments.text_steps, stream("pretraining captions", arguments.seed))
    enlarge_features(model, FEATURE_SCALE)
    facts = {
        "command": f"python tools/pretrain_tiny.py --seed {arguments.seed} --out DIR --images {arguments.images}"
        f" --epochs {arguments.epochs} --text-steps {arguments.text_steps} --threads {arguments.threads}",
        "seed": arguments.seed,
        "seconds": round(time.monotonic() - started),
    }
    export(model, captions, arguments.out, facts)


if __name__ == "__main__":
    main()
