"""`python tools/pretrain_tiny.py --out DIR`: make the weights of the tiny model in `clipbench/models/tiny`.

Contrastive training of both towers on painted pictures and their captions, in some minutes on two cores. The model
meets most class names of the smoke subsets, but mostly in photographs, in another shade, and with part of the captions
wrong; so it is useful on the subsets without being sufficient, which is what a smoke test of adaptation needs.
Deterministic at a fixed seed on one machine.
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

BATCH = 128
PEAK_LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.1
WARMUP_STEPS = 60
FEATURE_SCALE = 3.0
WRONG_CAPTIONS = 0.1
UNNAMED = 0.15
FIRST_SCAN = 100  # the subsets use the scans of digits before it
MEAN = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(3, 1, 1)
STD = torch.tensor(open_clip.OPENAI_DATASET_STD).view(3, 1, 1)

WAYS: Mapping[str, Mapping[str, float]] = {
    "photo": {"photo": 0.6, "art": 0.15, "cartoon": 0.15, "sketch": 0.1},
    "overhead": {"overhead": 0.9, "photo": 0.1},
    "texture": {"texture": 0.9, "photo": 0.1},
    "digit": {"mnist": 0.5, "syn": 0.3, "svhn": 0.2},
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
class Pair:
    """One image to be painted, and its caption."""

    concept: Concept
    way: str
    caption: str
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
    """What the pictures show: the classes of the subsets, but for the share `UNNAMED` that the model never meets."""
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
    met = [concept for concept in found if stream("met", concept.words).random() >= UNNAMED]
    return sorted(met, key=lambda concept: (concept.words, concept.kind, concept.view))


def draw_pairs(count: int, seed: int | str) -> list[Pair]:
    """Draw `count` pairs; concepts take turns, the rest is random."""
    rng, known = stream("pretraining pairs", seed), concepts()
    offset, pairs = int(rng.integers(2**40)), []
    for index in range(count):
        concept = known[index % len(known)]
        shares = WAYS[concept.view]
        way = str(rng.choice(list(shares), p=list(shares.values())))
        said = concept if rng.random() >= WRONG_CAPTIONS else known[int(rng.integers(len(known)))]
        template = TEMPLATES[int(rng.integers(len(TEMPLATES)))]
        pairs.append(Pair(concept, way, template.format(said.words, kind=said.kind or "thing"), offset + index))
    return pairs


def paint_all(pairs: Sequence[Pair], workers: int) -> Tensor:
    """Paint every pair's image, uint8 [n, 64, 64, 3], with several processes; the result does not depend on them."""
    with ProcessPoolExecutor(workers) as pool:
        return torch.from_numpy(np.stack(list(pool.map(Pair.paint, pairs, chunksize=64))))


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, captions: Tensor) -> Tensor:
    """CLIP's loss, with every pair of equal captions counted as a match: calling it a mismatch would contradict itself.

    Args:
        image: unit image features [B, D].
        text: unit text features [B, D].
        scale: factor of the cosines.
        captions: a number per caption [B], equal for equal captions.
    """
    logits = scale * image @ text.T
    same = (captions[:, None] == captions[None, :]).float()
    target = same / same.sum(dim=1, keepdim=True)
    return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2


def normalised(images: Tensor) -> Tensor:
    """uint8 [B, 64, 64, 3] -> float [B, 3, 64, 64] with OpenAI's mean and standard deviation."""
    return (images.permute(0, 3, 1, 2).float() / 255 - MEAN) / STD


def tokenise(pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """Token ids [n, longest caption] and a number per distinct caption [n]."""
    captions, numbers = np.unique([pair.caption for pair in pairs], return_inverse=True)
    tokens, ids = open_clip.tokenize(captions.tolist()), torch.from_numpy(numbers)
    return tokens[:, : int((tokens != 0).sum(dim=1).max())][ids], ids


def image_features(model: open_clip.CLIP, pixels: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Unit image features [B, D] of uint8 images, from the class token and from the mean of the patch tokens.

    Both are trained: at this size, patch tokens that no loss reaches would say little, and pooling them is what
    LoRA-CLIP does. `keep` are the numbers of the patches that are looked at, for speed (FLIP, Li et al., 2023).
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


def train(model: open_clip.CLIP, images: Tensor, tokens: Tensor, captions: Tensor, epochs: int, seed: int) -> float:
    """Train in place and return the mean loss of the last epoch."""
    order = torch.Generator().manual_seed(seed)
    steps = len(images) // BATCH
    optimiser, schedule = _optimiser(model, steps * epochs)
    loss_of_epoch = math.nan
    for epoch in range(epochs):
        losses = []
        for batch in torch.randperm(len(images), generator=order)[: steps * BATCH].view(-1, BATCH):
            pixels = images[batch].flip(2) if torch.rand((), generator=order) < 0.5 else images[batch]
            keep = torch.randperm(64, generator=order)[:32] if epoch < epochs - 1 else None
            text, scale = encode_short(model, tokens[batch]), model.logit_scale.exp().clamp(max=100)
            features = image_features(model, pixels, keep)
            loss = torch.stack([contrastive_loss(image, text, scale, captions[batch]) for image in features]).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        loss_of_epoch = sum(losses) / len(losses)
        print(f"epoch {epoch + 1} of {epochs}: loss {loss_of_epoch:.4f}", flush=True)
    return loss_of_epoch


def _optimiser(model: open_clip.CLIP, steps: int) -> tuple[AdamW, LambdaLR]:
    """AdamW with warm-up and cosine decay; biases, norms and embeddings are not decayed."""
    parameters = list(model.named_parameters())
    decayed = [p for name, p in parameters if p.ndim > 1 and "embedding" not in name]
    plain = [p for name, p in parameters if p.ndim <= 1 or "embedding" in name]
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}]
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


def export(model: open_clip.CLIP, tokens: Tensor, out: Path, facts: Mapping[str, object]) -> None:
    """Write the weights and, beside them, how they came about and how well they do."""
    out.mkdir(parents=True, exist_ok=True)
    save_weights(model, set(tokens.flatten().tolist()), tiny_weights_path(out))
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
    parser.add_argument("--images", type=int, default=8192)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    started = time.monotonic()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    pairs = draw_pairs(arguments.images, arguments.seed)
    images = paint_all(pairs, arguments.threads)
    tokens, captions = tokenise(pairs)
    model = new_model().train()
    loss = train(model, images, tokens, captions, arguments.epochs, arguments.seed)
    enlarge_features(model, FEATURE_SCALE)
    facts = {
        "command": f"python tools/pretrain_tiny.py --seed {arguments.seed} --out DIR --images {arguments.images}"
        f" --epochs {arguments.epochs} --threads {arguments.threads}",
        "seed": arguments.seed,
        "final_loss": round(loss, 4),
        "seconds": round(time.monotonic() - started),
    }
    export(model, tokens, arguments.out, facts)


if __name__ == "__main__":
    main()
