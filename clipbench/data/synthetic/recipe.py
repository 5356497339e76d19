"""What synthetic images of no known class are made from: prompts, model and guidance, as ODG-CLIP's code has them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from clipbench.data.catalogue import Entry
from clipbench.data.splits.odg import class_split
from clipbench.errors import UserError


@dataclass(frozen=True)
class Recipe:
    """How one image is made [mainaksingha01/ODG-CLIP 0e6aac2 trainer/odgclip.py:273-295, pacs.py:154-156, 271-278].

    Attributes:
        model: of Hugging Face's hub or a folder. ODG-CLIP names runwayml/stable-diffusion-v1-5, which moved there.
        prompt: with {} in the place of the domain.
        guidance_scale: of the classifier-free guidance.
        steps: of the sampler; the pipeline's default.
    """

    model: str = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    prompt: str = "{} of an unknown object"
    guidance_scale: float = 15.0
    steps: int = 50

    def positive(self, domain: str) -> str:
        """The prompt of a domain. Each gets its own name; ODG-CLIP's script for Mini-DomainNet has clipart twice."""
        return self.prompt.format(domain.replace("_", " "))


def negative(entry: Entry, label_space: str) -> str:
    """What images keep away from: the known classes' names as the data set writes them, joined by commas.

    The text tower reads 77 tokens, there as here: of many classes the first ones.
    """
    names = list(entry.classes)
    if label_space != "closed-set":
        known = class_split(entry.id, names).known
        names = [name for name in names if name in known]
    return ", ".join(names)


def image_seed(seed: int, domain: str, number: int) -> int:
    """The seed of one image: it does not depend on which others are made, or in which batch."""
    return int.from_bytes(hashlib.sha256(f"{seed} {domain} {number}".encode()).digest()[:7], "big")


def domains_of(entry: Entry) -> list[str]:
    """Every domain: each is a source of three targets. Raises ``UserError`` for a data set without domains."""
    if not entry.domains:
        raise UserError(
            f"{entry.id} has no domains: synthetic images stand beside the source domains of PACS and its kind."
        )
    return list(entry.domains)
