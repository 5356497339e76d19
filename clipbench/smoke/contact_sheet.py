"""`python -m clipbench.smoke.contact_sheet DATASET OUT.png`: see a subset at a glance, one row per class."""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

from clipbench.smoke.subsets import SUBSETS, Subset

_LABEL_PIXELS = 150


def contact_sheet(subset: Subset, columns: int = 12) -> Image.Image:
    """The first `columns` images of every class, labelled with the class name."""
    edge = subset.pixels
    sheet = Image.new("RGB", (_LABEL_PIXELS + columns * edge, len(subset.classes) * edge), "white")
    draw = ImageDraw.Draw(sheet)
    for row, name in enumerate(subset.classes):
        draw.text((6, row * edge + edge // 2 - 6), name, fill="black")
        for column in range(min(columns, subset.images_per_class)):
            tile = Image.fromarray(subset.paint(name, column))
            sheet.paste(tile, (_LABEL_PIXELS + column * edge, row * edge))
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
