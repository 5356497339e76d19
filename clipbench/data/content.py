"""What a number was measured on, as one digest: sampled lists, bytes of the images and masks, names and prompts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clipbench.data.digests import file_digests
from clipbench.data.images import ImageSet
from clipbench.data.splits import Split

_PARTS = {
    "list_sha256": "the lists of images differ",
    "images_sha256": "the images have other bytes",
    "class_names_sha256": "the class names or prompts differ",
    "split_file_sha256": "the split file or list of class names has other content",
}


@dataclass(frozen=True)
class Content:
    """Digests of all that a run reads of its data set.

    Attributes:
        list_sha256: file names and labels of train, val and test.
        images_sha256: bytes of these images, of their masks, and of the synthetic images beside them, in this order.
        class_names_sha256: class names, what stands for them in prompts, the data set's template, and the images' own
            prompts.
        split_file_sha256: the split files or list of class names; empty where the data set has none.
        shared_list_sha256: names of the images that runs of other seeds use too: of the whole data set where this run
            uses all of it, else of the test part.
        shared_images_sha256: bytes of these and of their masks.
        copies: images of the test part that are byte by byte among those of train or val.
    """

    list_sha256: str
    images_sha256: str
    class_names_sha256: str
    split_file_sha256: str
    shared_list_sha256: str
    shared_images_sha256: str
    copies: int = 0

    @property
    def sha256(self) -> str:
        """All of it in one digest."""
        return _sha256(self.list_sha256, self.images_sha256, self.class_names_sha256, self.split_file_sha256)


def content_of(images: ImageSet, cut: Split, digests: dict[str, str] | None = None) -> Content:
    """Digests of the images in a split.

    Args:
        digests: those of files of this data set that were looked at before, which are not looked at again; it takes in
            those of this split. A command that asks about many runs of one data set passes the same for all.

    Raises:
        UserError: a file has gone or cannot be read.
    """
    used = [*cut.train, *cut.val, *cut.test, *cut.synthetic]
    digests = {} if digests is None else digests
    new = list(dict.fromkeys(name for i in used for name in _files(images, i) if name not in digests))
    digests.update(zip(new, file_digests(images.root, new) if new else [], strict=True))
    lines = [" ".join(digests[name] for name in _files(images, i)) for i in used]
    seen = {digests[images.files[i]] for i in (*cut.train, *cut.val)}
    copies = sum(digests[images.files[i]] in seen for i in cut.test)
    every = {*cut.train, *cut.val, *cut.test}
    shared = sorted(every if len(every) == len(images) else cut.test, key=lambda i: images.files[i])
    return Content(
        list_sha256=cut.digest,
        images_sha256=_sha256(*lines),
        class_names_sha256=_names_digest(images, used),
        split_file_sha256=images.split_file_sha256,
        shared_list_sha256=_sha256(*(images.files[i] for i in shared)),
        shared_images_sha256=_sha256(*(digests[name] for i in shared for name in _files(images, i))),
        copies=copies,
    )


def differences(recorded: Mapping[str, str], now: Content) -> str:
    """Which of the digests in a record are others than those of the data now, in words; empty where none is."""
    return " and ".join(what for name, what in _PARTS.items() if recorded.get(name) != getattr(now, name))


def copies_told(images: ImageSet, content: Content) -> str:
    """A sentence on test images that training or validation saw."""
    return (
        f"{images.dataset}: {content.copies:,} test images are byte by byte among the training or validation images; "
        f"accuracies on them are too high. `clipbench data verify` names those of a known data set."
    )


def _files(images: ImageSet, index: int) -> Sequence[str]:
    return (images.files[index], *(images.masks[index] if images.masks else ()))


def _names_digest(images: ImageSet, used: Sequence[int]) -> str:
    prompts = [images.prompts[i] for i in used] if images.prompts else []
    return _sha256(json.dumps([list(images.classes), list(images.prompt_names), images.template, prompts]))


def _sha256(*lines: str) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
