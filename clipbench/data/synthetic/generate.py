"""Make a folder of synthetic images with a diffusion pipeline; what is there already stays, so that it can go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clipbench.data.catalogue import Entry
from clipbench.data.digests import file_digest
from clipbench.data.synthetic.manifest import MANIFEST, Manifest, Picture, read_manifest
from clipbench.data.synthetic.recipe import Recipe, domains_of, image_seed, negative
from clipbench.errors import UserError
from clipbench.files import beside

_SECONDS_BETWEEN_MANIFESTS = 10.0
_ADVICE = "Make room there, or name another folder with --data."


@dataclass(frozen=True)
class Made:
    """How many images a call has made, and how many of these are black.

    Stable Diffusion's safety checker blackens images; ODG-CLIP trains on them as they are, so they stay.
    """

    made: int
    black: int


def load_pipeline(recipe: Recipe, device: str) -> Any:
    """Stable Diffusion from the hub or a folder: fp16 on a GPU, as in ODG-CLIP, float32 elsewhere.

    ``device`` may be ``auto``: CUDA, then Apple's MPS, then the CPU. Raises ``UserError`` where diffusers is not
    installed, or the model is not to be had.
    """
    import torch

    try:
        from diffusers import StableDiffusionPipeline
    except ImportError:
        raise UserError(
            "making synthetic images needs diffusers, which is not installed: pip install 'clipbench[synthesis]'."
        ) from None
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    dtype = torch.float16 if device.startswith("cuda") else torch.float32
    try:
        pipeline = StableDiffusionPipeline.from_pretrained(recipe.model, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{recipe.model} cannot be loaded as a Stable Diffusion pipeline: {why} Name a folder that holds one, "
            f"or another model of the hub, with --model."
        ) from None
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device, dtype)


class Folder:
    """A folder of synthetic images in the making; its manifest says at every moment what is whole."""

    def __init__(self, entry: Entry, path: Path, label_space: str, recipe: Recipe, seed: int) -> None:
        self._path, self._recipe, self._seed = path, recipe, seed
        self._domains, self._negative = domains_of(entry), negative(entry, label_space)
        generator = {"name": recipe.model, "guidance_scale": recipe.guidance_scale, "steps": recipe.steps}
        self._manifest = Manifest(entry.id, generator, seed, self._kept(entry, generator))
        self._images = {image.file: image for image in self._manifest.images}
        self._written = time.monotonic()

    def __len__(self) -> int:
        return len(self._images)

    def missing(self, count: int) -> list[tuple[str, int]]:
        """Domains and numbers of the images that are not there, of ``count`` per domain."""
        every = [(domain, number) for number in range(count) for domain in self._domains]
        return [(domain, number) for domain, number in every if _file(domain, number) not in self._images]

    def make(self, pipeline: Any, count: int, batch: int, advance: Callable[[int], None]) -> Made:
        """Make what is missing of ``count`` images per domain, ``batch`` at a time."""
        made = black = 0
        try:
            for some in _batches(self.missing(count), batch):
                for (domain, number), image in zip(some, self._drawn(pipeline, some), strict=True):
                    self._keep(domain, number, image)
                    made, black = made + 1, black + (image.getbbox() is None)
                self._write_now_and_then()
                advance(len(some))
        finally:
            self._write()
        return Made(made, black)

    def _drawn(self, pipeline: Any, some: Sequence[tuple[str, int]]) -> Sequence[Any]:
        import torch

        seeds = [image_seed(self._seed, domain, number) for domain, number in some]
        found = pipeline(
            prompt=[self._recipe.positive(domain) for domain, _ in some],
            negative_prompt=[self._negative] * len(some),
            guidance_scale=self._recipe.guidance_scale,
            num_inference_steps=self._recipe.steps,
            # On the CPU: the same noise whatever the device.
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        )
        images: Sequence[Any] = found.images
        return images

    def _keep(self, domain: str, number: int, image: Any) -> None:
        file = _file(domain, number)
        with beside(self._path / file, _ADVICE) as partial:
            image.convert("RGB").save(partial, format="PNG")
        prompt, seed = self._recipe.positive(domain), image_seed(self._seed, domain, number)
        sha256 = file_digest(self._path / file)
        self._images[file] = Picture(file, domain, prompt, sha256, self._negative, seed)

    def _write_now_and_then(self) -> None:
        if time.monotonic() - self._written > _SECONDS_BETWEEN_MANIFESTS:
            self._write()

    def _write(self) -> None:
        images = [self._images[file] for file in sorted(self._images)]
        replace(self._manifest, images=images).write(self._path)
        self._written = time.monotonic()

    def _kept(self, entry: Entry, generator: Mapping[str, Any]) -> list[Picture]:
        """The images that an earlier call has made and that are whole.

        Raises ``UserError`` where the folder was made by other means: its images would not be those of this recipe.
        """
        if not (self._path / MANIFEST).is_file():
            return []
        found = read_manifest(self._path)
        negatives = {image.negative_prompt for image in found.images} | {self._negative}
        if (found.dataset, found.generator, found.seed) != (entry.id, generator, self._seed) or len(negatives) > 1:
            raise UserError(
                f"{self._path} holds images by {found.source}, seed {found.seed}, and those to be made are others "
                f"({generator['name']}, guidance_scale {generator['guidance_scale']:g}, seed {self._seed}). Name the "
                f"same model and seed to go on, or move the folder away."
            )
        whole = (i for i in found.images if (self._path / i.file).is_file())
        return [image for image in whole if file_digest(self._path / image.file) == image.sha256]


def _file(domain: str, number: int) -> str:
    return f"{domain}/{number:06d}.png"


def _batches(items: Sequence[tuple[str, int]], size: int) -> Iterator[Sequence[tuple[str, int]]]:
    return (items[start : start + size] for start in range(0, len(items), size))
