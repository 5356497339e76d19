"""From a protocol's data set to its images on disk: the real ones below the data root, or the embedded subset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from clipbench.data.cache import cache_dir
from clipbench.data.catalogue import Entry, entry
from clipbench.data.images import ImageSet
from clipbench.data.official import find_images
from clipbench.data.splits import rule, split
from clipbench.data.user import UserData, user_images, with_parts
from clipbench.errors import UserError
from clipbench.registry import Protocol

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NO_DATA: Mapping[str, UserData] = {}


def image_set(protocol: Protocol, data_root: Path, own: Mapping[str, UserData] = _NO_DATA) -> ImageSet:
    """The protocol's images; ``own`` are folders of the user's own data sets by their names in protocols.

    Raises ``UserError`` where images are missing or (without ``limit``) not all there.
    """
    if (data := own.get(protocol.need("dataset"))) is not None:
        return replace(user_images(data), dataset=protocol.need("dataset"))
    official = entry(protocol.need("dataset"))
    images = _embedded(official) if protocol.profile == "smoke" else _real(official, protocol, data_root)
    if protocol.split_rule is not None and rule(protocol.split_rule).needs_parts and not images.parts:
        images = with_parts(images)
    return replace(images, prompt_names=_prompt_names(images, protocol))


def check_data(
    protocols: Iterable[Protocol], data_root: Path, own: Mapping[str, UserData] = _NO_DATA
) -> dict[str, str]:
    """For every data set that is missing or incomplete, the paragraph that says so."""
    missing: dict[str, str] = {}
    for protocol in protocols:
        if protocol.profile != "smoke":
            try:
                image_set(protocol, data_root, own)
            except UserError as error:
                missing[protocol.need("dataset")] = str(error)
    return missing


def part_sizes(protocol: Protocol, own: Mapping[str, UserData] = _NO_DATA) -> tuple[int, int]:
    """Training and test images of one run, from the counts of the catalogue, or of the embedded subset itself.

    Exact but for two cases, where it is an even share of an official total: a limit, or ODG-CLIP's class splits, on a
    data set whose counts by class are not official knowledge; and the train part of domains that are known as a whole.
    """
    if protocol.dataset in own:
        return _sizes_of(image_set(protocol, Path(), own), protocol)
    official = entry(protocol.need("dataset"))
    if protocol.profile != "smoke":
        return rule(protocol.need("split_rule")).sizes(official, protocol)
    if official.layout == "class-folders":
        return rule(protocol.need("split_rule")).sizes(_smoke_entry(official), protocol)
    return _sizes_of(image_set(protocol, Path()), protocol)


def _sizes_of(images: ImageSet, protocol: Protocol) -> tuple[int, int]:
    """Sizes of the split itself; for the target ``each`` the sum over the domains."""
    targets = dict.fromkeys(images.domains) if protocol.test_domain == "each" else [protocol.test_domain]
    cuts = [split(images, replace(protocol, test_domain=target), 0) for target in targets]
    return sum(len(cut.train) for cut in cuts), sum(len(cut.test) for cut in cuts)


def _real(official: Entry, protocol: Protocol, data_root: Path) -> ImageSet:
    needs = ("test",) if protocol.shots == 0 else ()
    return find_images(official, data_root, partial=protocol.limit is not None, needs=needs)


def _embedded(official: Entry) -> ImageSet:
    """The generated subset, in the genuine layout, read by the same reader as the real data."""
    from clipbench.data.painted import SUBSETS, write_subset

    if official.id not in SUBSETS:
        raise UserError(f"there is no smoke subset of {official.id!r}; there is one of: {', '.join(SUBSETS)}.")
    root = write_subset(official.id, cache_dir() / "smoke").parent
    if official.layout == "class-folders":
        return find_images(_smoke_entry(official), root)
    return find_images(official, root, partial=True, official=False)


def _smoke_entry(official: Entry) -> Entry:
    from clipbench.data.painted import SUBSETS

    subset = SUBSETS[official.id]
    return replace(official, classes=dict.fromkeys(subset.classes, subset.images_per_class))


def _prompt_names(images: ImageSet, protocol: Protocol) -> tuple[str, ...]:
    if protocol.class_names != "digits-in-words":
        return tuple(images.prompt_names)
    words: Mapping[str, str] = {str(digit): word for digit, word in enumerate(_DIGITS)}
    return tuple(words.get(name, name) for name in images.prompt_names)
