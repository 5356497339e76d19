"""Annotation files in the form of medvlsm's, with prompts in our own words under the same keys."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from clipbench.data.painted.lesions.pictures import Case
from clipbench.data.painted.lesions.shapes import Mask, bounding_box, number_word, place_words, shape_word, size_word

Prompts: TypeAlias = Mapping[str, str | Sequence[str]]

_POLYP_IS = ("a lump that rises from the lining of the bowel", "a bump of tissue", "a swelling with a smooth surface")


def joined(case: Case) -> Mask:
    """All lesions of a case in one mask [height, width]."""
    return np.asarray(np.any([np.zeros(case.picture.shape[:2], dtype=bool), *case.masks], axis=0))


def polyp_prompts(case: Case) -> Prompts:
    """p0 to p9: nothing, the class, then shape, colour, size, number, place one after the other; p7 to p9 describe."""
    largest = max(case.masks, key=np.sum)
    p2 = f"{shape_word(largest)} polyp"
    p3 = f"{case.colour} {p2}"
    p4 = f"{size_word(case.masks)} {p3}"
    p5 = f"{number_word(case.masks)} {p4}"
    where = f"located in {place_words(case.masks)} of the image"
    p8 = [f"{p5} which is {description}" for description in _POLYP_IS]
    return {
        "p0": "",
        "p1": "polyp",
        "p2": p2,
        "p3": p3,
        "p4": p4,
        "p5": p5,
        "p6": f"{p5}, {where}",
        "p7": [f"polyp which is {description}" for description in _POLYP_IS],
        "p8": p8,
        "p9": [f"{prompt} {where}" for prompt in p8],
    }


def tumour_prompts(case: Case, kind: str) -> Prompts:
    """p0 to p6: nothing, the class, then kind, number, size, place and shape one after the other, in two wordings."""
    keys = [f"p{number}" for number in range(1, 7)]
    if not case.masks:
        return {"p0": "", **dict.fromkeys(keys, "Breast ultrasound image without a tumor.")}
    noun = "tumor" if len(case.masks) == 1 else "tumors"
    regular = {"benign": "regular", "malignant": "irregular"}[kind]
    number, size = number_word(case.masks).capitalize(), size_word(case.masks)
    where, shape = place_words(case.masks), shape_word(max(case.masks, key=np.sum))

    def both(text: str) -> list[str]:
        return [f"{text.format(word)} in a breast ultrasound image." for word in (kind, f"{regular}-shaped")]

    return {
        "p0": "",
        "p1": "Tumor in a breast ultrasound image.",
        "p2": [prompt.capitalize() for prompt in both(f"{{}} {noun}")],
        "p3": both(f"{number} {{}} {noun}"),
        "p4": both(f"{number} {size} {{}} {noun}"),
        "p5": both(f"{number} {size} {{}} {noun} at the {where}"),
        "p6": both(f"{number} {size} {shape} {{}} {noun} at the {where}"),
    }


def item(name: str, suffix: str, number: int, mask: Mask, prompts: Prompts) -> dict[str, object]:
    """One image's entry in an annotation file."""
    return {
        "bbox": bounding_box(mask),
        "cat": 0,
        "segment_id": name,
        "img_name": f"{name}{suffix}",
        "mask_name": f"{name}{suffix}",
        "sentences": [{"idx": 0, "sent_id": number, "sent": ""}],
        "prompts": prompts,
        "sentences_num": 1,
    }


def annotation_file(items: Sequence[Mapping[str, object]]) -> str:
    """The content of `anns/<part>.json`."""
    return json.dumps(items)
