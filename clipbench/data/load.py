"""From a protocol's data set to its images on disk: the real ones below the data root, or the embedded subset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from clipbench.data.cache import cache_dir
from clipbench.data.catalogue import Entry, entry
from clipbench.data.images import Decoding, ImageSet
from clipbench.data.official import find_images
from clipbench.data.splits import rule, split
from clipbench.data.synthetic import folder_of, with_synthetic
from clipbench.data.user import UserData, with_parts
from clipbench.errors import UserError
from clipbench.registry import Protocol

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NO_DATA: Mapping[str, UserData] = {}


@dataclass(frozen=True)
class Datasets:
    """The data sets of a command, each listed once.

    Attributes:
        data_root: the folder above the catalogue's data sets.
        user_data: the user's own data sets, by their names in protocols.
    """

    data_root: Path
    user_data: Mapping[str, UserData] = field(default_factory=dict)
    _listed: dict[tuple[object, ...], ImageSet] = field(default_factory=dict, repr=False)
    _with_synthetic: dict[tuple[Path, bool], ImageSet] = field(default_factory=dict, repr=False)

    def images(self, protocol: Protocol) -> ImageSet:
        """The protocol's images. Raises ``UserError`` where some are missing or (without ``limit``) not all there."""
        name = protocol.need("dataset")
        with_all_parts = protocol.split_rule is not None and rule(protocol.need("split_rule")).needs_parts
        cut, zero_shot = protocol.limit is not None, protocol.shots == 0
        key = (name, protocol.profile, cut, zero_shot, with_all_parts, protocol.class_list)
        if key not in self._listed:
            images = self._list(name, protocol)
            self._listed[key] = with_parts(images) if with_all_parts and not images.parts else images
        images = self._listed[key]
        if protocol.exif and protocol.pixel_range:  # counting images needs neither
            images = replace(images, decoding=Decoding(protocol.exif, protocol.pixel_range))
        return replace(images, prompt_names=_prompt_names(images, protocol))

    def images_of_run(self, protocol: Protocol) -> ImageSet:
        """The protocol's images and, where it trains beside synthetic ones, those. Raises ``UserError`` likewise."""
        images = self.images(protocol)
        if protocol.synthetic_draw is None:
            return images
        folder = self._synthetic(protocol)
        key = folder, protocol.limit is None
        if key not in self._with_synthetic:
            self._with_synthetic[key] = with_synthetic(images, folder)
        found = self._with_synthetic[key]
        return replace(found, decoding=images.decoding, prompt_names=images.prompt_names)

    def check(self, protocols: Iterable[Protocol]) -> dict[str, str]:
        """For every data set that is missing or incomplete, the paragraph that says so."""
        missing: dict[str, str] = {}
        for protocol in protocols:
            if protocol.profile != "smoke":
                try:
                    self.images(protocol)
                except UserError as error:
                    missing[protocol.need("dataset")] = str(error)
        return missing

    def sizes(self, protocol: Protocol) -> tuple[int, int]:
        """Training and test images of one run, from the catalogue's counts, or of the images themselves.

        With a limit the images are counted that are there. Exact but for two cases, where it is an even share of an
        official total: a limit, or ODG-CLIP's class splits, on a data set whose counts by class are not official
        knowledge; and the train part of domains that are known as a whole.
        """
        if protocol.dataset in self.user_data or (protocol.limit is not None and self._is_here(protocol)):
            return _sizes_of(self.images(protocol), protocol)
        official = self._official(protocol.need("dataset"))
        if protocol.profile != "smoke":
            return rule(protocol.need("split_rule")).sizes(official, protocol)
        if official.layout == "class-folders":
            return rule(protocol.need("split_rule")).sizes(_smoke_entry(official), protocol)
        return _sizes_of(self.images(protocol), protocol)

    def _synthetic(self, protocol: Protocol) -> Path:
        name, space = protocol.need("dataset"), protocol.need("label_space")
        if protocol.profile != "smoke":
            return folder_of(self.data_root, name, space)
        from clipbench.data.painted import write_unknowns

        return write_unknowns(name, cache_dir() / "smoke", space)

    def _is_here(self, protocol: Protocol) -> bool:
        try:
            return bool(len(self.images(protocol)))
        except UserError:
            return False

    def _official(self, name: str) -> Entry:
        """The catalogue's entry. Raises ``UserError`` for another name, and for a user's folder that is not given."""
        if "@" not in name:
            return entry(name)
        folder = name.rpartition("@")[0]
        given = ", ".join(self.user_data)
        here = f"; what is given is {given}, with other names, sizes or parts of its files" if given else ""
        raise UserError(
            f"{name} is a data set of the user's own, the folder {folder!r} as its files were then{here}. Name it with "
            f"--dataset-dir DIR, and the --split-file where it had one."
        )

    def _list(self, name: str, protocol: Protocol) -> ImageSet:
        if (data := self.user_data.get(name)) is not None:
            return replace(data.images, dataset=name)
        official = self._official(name)
        return _embedded(official) if protocol.profile == "smoke" else _real(official, protocol, self.data_root)


def image_set(protocol: Protocol, data_root: Path, user_data: Mapping[str, UserData] = _NO_DATA) -> ImageSet:
    """The protocol's images, listed now; see :class:`Datasets`."""
    return Datasets(data_root, user_data).images(protocol)


def check_data(
    protocols: Iterable[Protocol], data_root: Path, user_data: Mapping[str, UserData] = _NO_DATA
) -> dict[str, str]:
    """For every data set that is missing or incomplete, the paragraph that says so."""
    return Datasets(data_root, user_data).check(protocols)


def part_sizes(protocol: Protocol, user_data: Mapping[str, UserData] = _NO_DATA) -> tuple[int, int]:
    """Training and test images of one run; see :meth:`Datasets.sizes`."""
    return Datasets(Path(), user_data).sizes(protocol)


def _sizes_of(images: ImageSet, protocol: Protocol) -> tuple[int, int]:
    """Sizes of the split itself; for the target ``each`` the sum over the domains."""
    targets = dict.fromkeys(images.domains) if protocol.test_domain == "each" else [protocol.test_domain]
    cuts = [split(images, replace(protocol, test_domain=target), 0) for target in targets]
    return sum(len(cut.train) for cut in cuts), sum(len(cut.test) for cut in cuts)


def _real(official: Entry, protocol: Protocol, data_root: Path) -> ImageSet:
    needs = ("test",) if protocol.shots == 0 else ()
    if protocol.class_list == "clip" and official.acquisition is not None:  # and no file of names is looked at
        no_lists = replace(official.acquisition, split_files=())
        official = replace(official, layout_options={"class_list": "clip"}, acquisition=no_lists)
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
    if protocol.class_names == "with-underscores":
        return tuple(images.classes)
    if protocol.class_names != "digits-in-words":
        return tuple(images.prompt_names)
    words: Mapping[str, str] = {str(digit): word for digit, word in enumerate(_DIGITS)}
    return tuple(words.get(name, name) for name in images.prompt_names)
