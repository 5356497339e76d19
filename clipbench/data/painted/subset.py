"""A subset: one data set's generated stand-in, and how each of its pictures is painted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clipbench.data.catalogue import Entry, entry
from clipbench.data.painted.digits import DOMAINS, digit_thing
from clipbench.data.painted.lesions import Case, Kind, case
from clipbench.data.painted.rendering import RENDERINGS, arrange, render
from clipbench.data.painted.shapes import look
from clipbench.data.painted.streams import stream

PIXELS = 64


@dataclass(frozen=True)
class Subset:
    """One data set's stand-in; what its layout looks like on disk is read in its catalogue entry.

    Attributes:
        dataset: name of the data set in the catalogue.
        classes: class names in the data set's genuine spelling and order.
        split: images of each class (and domain) in train, val and test; under "" where there are no official parts.
        view: way of rendering, where there are no domains.
        kind: what all classes are ("flower"), where they look alike.
        kinds: name -> kind of lesion, for a segmentation set; `split` counts the images of each kind.
        file_name: form of a segmentation set's file names, from a number and the kind's name.
        mask_suffix: file format of its masks.
    """

    dataset: str
    classes: Sequence[str]
    split: Mapping[str, int]
    view: str = "photo"
    kind: str = ""
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    file_name: str = "{}"
    mask_suffix: str = ".png"

    @property
    def entry(self) -> Entry:
        """The data set's catalogue entry."""
        return entry(self.dataset)

    @property
    def folder(self) -> str:
        """The data set's own folder, below the folder that holds all data sets."""
        return self.entry.folders[0].split("/")[0]

    @property
    def domains(self) -> Sequence[str]:
        """The domains, in the data set's genuine spelling; empty where there is but one."""
        return tuple(self.entry.domains)

    @property
    def images_per_class(self) -> int:
        """Images of each class in one domain, all parts together."""
        return sum(self.split.values())

    def members(self, name: str, domain: str = "") -> Mapping[str, Sequence[int]]:
        """The numbers of a class's images by part; by lot, so that no part knows a number's neighbours."""
        order = stream("parts", self.dataset, domain, name).permutation(self.images_per_class).tolist()
        ends = np.cumsum(list(self.split.values())).tolist()
        return {
            part: sorted(order[end - count : end]) for (part, count), end in zip(self.split.items(), ends, strict=True)
        }

    def paint(self, name: str, index: int, domain: str = "") -> NDArray[np.uint8]:
        """Image number `index` (from 0) of a class, uint8 [64, 64, 3].

        The same arguments always give the same pixels, whatever was painted before.
        """
        rng, way = stream("picture", self.dataset, domain, name, index), RENDERINGS[domain or self.view]
        if domain in DOMAINS:
            number = index * len(DOMAINS) + DOMAINS.index(domain)  # no scan serves two domains
            return render([digit_thing(int(name), number, rng, PIXELS)], way, rng, PIXELS)
        words = self.entry.prompt_name(name).lower()
        return render(arrange(look(words, self.dataset, self.kind), way, rng, PIXELS), way, rng, PIXELS)

    def case(self, kind: str, index: int) -> Case:
        """Image number `index` (from 0) of a kind of lesion, with its masks."""
        return case(self.kinds[kind], stream("picture", self.dataset, kind, index), PIXELS)
