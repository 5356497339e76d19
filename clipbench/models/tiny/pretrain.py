"""`python -m clipbench.models.tiny.pretrain --seed 0 --out DIR`: make the weights of the tiny model.

Contrastive training of both towers on generated pairs. Deterministic at a fixed seed on one machine; some ten
minutes on two cores.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import math
import sys
import time
from pathlib import Path

import open_clip
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from clipbench.models.tiny import tiny_provenance_path, tiny_weights_path
from clipbench.models.tiny.corpus import Pair, draw_pairs, paint_all
from clipbench.models.tiny.weights import new_model, save_weights

BATCH = 128
PEAK_LEARNING_RATE = 1.5e-3
WEIGHT_DECAY = 0.1
WARMUP_STEPS = 100
FEATURE_SCALE = 3.0
MEAN = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(3, 1, 1)
STD = torch.tensor(open_clip.OPENAI_DATASET_STD).view(3, 1, 1)


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, captions: Tensor) -> Tensor:
    """CLIP's loss, with every pair of equal captions counted as a match.

    Generated captions repeat within a batch; calling such a pair a mismatch would be a contradiction.

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


def tokenise(pairs: list[Pair]) -> tuple[Tensor, Tensor]:
    """Token ids [n, longest caption] and a number per distinct caption [n]."""
    captions = sorted({pair.caption for pair in pairs})
    number = {caption: index for index, caption in enumerate(captions)}
    ids = torch.tensor([number[pair.caption] for pair in pairs])
    tokens = open_clip.tokenize(captions)
    return tokens[:, : int((tokens != 0).sum(dim=1).max())][ids], ids


def image_features(model: open_clip.CLIP, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Unit image features [B, D] of uint8 images, from the class token and from the mean of the patch tokens.

    Both are trained: at this size, patch tokens that no loss reaches would say little, and pooling them is what
    LoRA-CLIP does.
    """
    visual = model.visual
    tokens = visual.ln_post(visual.transformer(visual._embeds(normalised(pixels))))
    return normalize(tokens[:, 0] @ visual.proj, dim=-1), normalize(tokens[:, 1:].mean(dim=1) @ visual.proj, dim=-1)


def enlarge_features(model: open_clip.CLIP, factor: float) -> None:
    """Multiply the tokens before the projection by `factor`, and the projection by its inverse.

    The joint space stays as it is. A linear head on the tokens sees features as long as those of ViT-L/14, which has
    eleven times as many of them, and so learns as fast.
    """
    with torch.no_grad():
        model.visual.ln_post.weight.mul_(factor)
        model.visual.ln_post.bias.mul_(factor)
        model.visual.proj.div_(factor)


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
        batches = torch.randperm(len(images), generator=order)[: steps * BATCH].view(-1, BATCH)
        losses = []
        for batch in tqdm(batches, desc=f"epoch {epoch + 1}/{epochs}", file=sys.stderr, mininterval=5):
            pixels = images[batch].flip(2) if torch.rand((), generator=order) < 0.5 else images[batch]
            loss = _loss(model, pixels, tokens[batch], captions[batch])
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        loss_of_epoch = sum(losses) / len(losses)
        print(f"epoch {epoch + 1}: loss {loss_of_epoch:.4f}", flush=True)
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


def _loss(model: open_clip.CLIP, pixels: Tensor, tokens: Tensor, captions: Tensor) -> Tensor:
    text, scale = encode_short(model, tokens), model.logit_scale.exp().clamp(max=100)
    losses = [contrastive_loss(image, text, scale, captions) for image in image_features(model, pixels)]
    return torch.stack(losses).mean()


def export(model: open_clip.CLIP, tokens: Tensor, out: Path, facts: dict[str, object]) -> None:
    """Write the weights and, beside them, how they came about."""
    out.mkdir(parents=True, exist_ok=True)
    save_weights(model, set(tokens.flatten().tolist()), tiny_weights_path(out))
    digest = hashlib.sha256(tiny_weights_path(out).read_bytes()).hexdigest()
    versions = {"torch": torch.__version__, "open_clip": open_clip.__version__}
    provenance = {"sha256": digest, **facts, **versions, "date": datetime.date.today().isoformat()}
    tiny_provenance_path(out).write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Pretrain as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights and their provenance")
    parser.add_argument("--images", type=int, default=7360)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    started = time.monotonic()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    pairs = draw_pairs(arguments.images, arguments.seed)
    images = torch.from_numpy(paint_all(pairs))
    tokens, captions = tokenise(pairs)
    model = new_model().train()
    loss = train(model, images, tokens, captions, arguments.epochs, arguments.seed)
    enlarge_features(model, FEATURE_SCALE)
    facts: dict[str, object] = {
        "command": f"python -m clipbench.models.tiny.pretrain --seed {arguments.seed} --out DIR"
        f" --images {arguments.images} --epochs {arguments.epochs} --threads {arguments.threads}",
        "seed": arguments.seed,
        "images": arguments.images,
        "epochs": arguments.epochs,
        "final_loss": round(loss, 4),
        "seconds": round(time.monotonic() - started),
    }
    export(model, tokens, arguments.out, facts)


if __name__ == "__main__":
    main()
