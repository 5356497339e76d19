"""`python -m clipbench.data.painted.contact_sheet DATASET OUT.png`: see a subset at a glance."""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

from clipbench.data.painted.subset import Subset
from clipbench.data.painted.subsets import SUBSETS

_LABEL_PIXELS = 150


def contact_sheet(subset: Subset, columns: int = 12) -> Image.Image:
    """The first `columns` pictures of every class (and domain), labelled."""
    rows = list(subset.rows(columns))
    wide = max(tile.width for _, tiles in rows for tile in tiles)
    tall = max(tile.height for _, tiles in rows for tile in tiles)
    sheet = Image.new("RGB", (_LABEL_PIXELS + columns * wide, len(rows) * tall), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (label, tiles) in enumerate(rows):
        draw.text((6, row * tall + tall // 2 - 6), label, fill="black")
        for column, tile in enumerate(tiles):
            sheet.paste(tile, (_LABEL_PIXELS + column * wide, row * tall))
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
