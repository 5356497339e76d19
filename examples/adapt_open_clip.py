"""Adapt open_clip to a folder of images (one sub-folder per class), save the adapter, load it, merge it.

python examples/adapt_open_clip.py FOLDER [--model ViT-B-16-quickgelu] [--pretrained openai] [--epochs 5] [--out F]
"""

from __future__ import annotations

import argparse
import sys

import open_clip
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from clipbench.adapters import AdapterConfig, adapt, load, merge, remove, save, summary, trainable_parameters


def train(folder: str, name: str, pretrained: str | None, epochs: int, lr: float, out: str) -> float:
    """Train DoRA on q, k, v and o of both towers; returns the accuracy of the saved, loaded and merged model."""
    model, preprocess, _ = open_clip.create_model_and_transforms(name, pretrained=pretrained)
    data = ImageFolder(folder, preprocess)
    prompts = open_clip.get_tokenizer(name)([f"a photo of a {c.replace('_', ' ')}." for c in data.classes])

    adapt(model, AdapterConfig(kind="dora", rank=2, alpha=1, scaling="alpha/sqrt(r)", targets="qkvo", dropout=0.25))
    print(summary(model))
    optimiser = torch.optim.AdamW(trainable_parameters(model).parameters, lr=lr)
    for _ in range(epochs):
        for images, labels in DataLoader(data, batch_size=32, shuffle=True):
            logits = 100 * model.encode_image(images, normalize=True) @ model.encode_text(prompts, normalize=True).T
            optimiser.zero_grad()
            cross_entropy(logits, labels).backward()
            optimiser.step()
    save(model, out)

    plain = remove(model)  # what a new session would get from open_clip.create_model
    merge(load(plain, out)).eval()  # an ordinary open_clip model: nothing of clipbench is needed to use it
    return _accuracy(plain, data, prompts)


@torch.no_grad()
def _accuracy(model: torch.nn.Module, data: ImageFolder, prompts: torch.Tensor) -> float:
    classes = model.encode_text(prompts, normalize=True)
    batches = DataLoader(data, batch_size=32)
    hits = [(model.encode_image(x, normalize=True) @ classes.T).argmax(1) == y for x, y in batches]
    return torch.cat(hits).float().mean().item()


def main(arguments: list[str]) -> None:
    """Read the command line, train, print the accuracy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--model", default="ViT-B-16-quickgelu")
    parser.add_argument("--pretrained", default="openai", help="tag or file of weights; empty for random weights")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--out", default="adapter")
    o = parser.parse_args(arguments)
    accuracy = train(o.folder, o.model, o.pretrained or None, o.epochs, o.lr, o.out)
    print(f"accuracy on the training images: {accuracy:.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
