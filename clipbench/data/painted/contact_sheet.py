"""`python -m clipbench.data.painted.contact_sheet DATASET OUT.png`: see a subset at a glance."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from clipbench.data.painted.subset import PIXELS, Subset
from clipbench.data.painted.subsets import SUBSETS

_LABEL_PIXELS = 150


def rows(subset: Subset, columns: int) -> Iterator[tuple[str, list[Image.Image]]]:
    """The first `columns` pictures of every class (and domain) with a label; lesions above their masks."""
    shown = range(min(columns, subset.images_per_class))
    for label in subset.kinds:
        cases = [subset.case(label, index) for index in shown]
        yield (
            label,
            [Image.fromarray(np.vstack([c.picture, np.stack([c.mask] * 3, axis=2) * np.uint8(255)])) for c in cases],
        )
    for domain in subset.domains or ("",):
        for name in () if subset.kinds else subset.classes:
            yield f"{domain} {name}", [Image.fromarray(subset.paint(name, index, domain)) for index in shown]


def contact_sheet(subset: Subset, columns: int = 12) -> Image.Image:
    """All rows of a subset, one below the other, labelled."""
    labelled = list(rows(subset, columns))
    tall = labelled[0][1][0].height
    sheet = Image.new("RGB", (_LABEL_PIXELS + columns * PIXELS, len(labelled) * tall), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (label, tiles) in enumerate(labelled):
        draw.text((6, row * tall + tall // 2 - 6), label, fill="black")
        for column, tile in enumerate(tiles):
            sheet.paste(tile, (_LABEL_PIXELS + column * PIXELS, row * tall))
    return sheet


def main() -> None:
    """Write the contact sheet that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", choices=list(SUBSETS))
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    contact_sheet(SUBSETS[arguments.dataset]).save(arguments.out)


if __name__ == "__main__":
    main()
