"""Full fine-tuning on affine views (Chen et al., TIP 2021: MBLANet's train.py:130-155)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from clipbench.errors import UserError
from clipbench.methods.augment import centre, per_channel, uniform, warped
from clipbench.methods.base import Setting
from clipbench.methods.full import FullTuning
from clipbench.registry.field import Field


class FullAffine(FullTuning):
    """Every weight is trained, on images that are turned, scaled and sheared; the network sees their centre."""

    fields: ClassVar[Sequence[Field]] = (
        Field("affine_degrees", float, "training images turn by up to so many degrees either way", low=0.0, high=180.0),
        Field("affine_scale", tuple, "and are scaled by", above=0.0, high=10.0, length=2, ordered=True),
        Field("affine_shear", float, "and sheared along x by up to so many degrees either way", low=0.0, below=90.0),
        Field("centre_crop", int, "side of the centre of each image that the network sees, pixels", low=8),
    )

    def setup(self, setting: Setting) -> None:
        """Free every weight. Raises ``UserError`` for a centre that is larger than the image, too."""
        super().setup(setting)
        need = setting.protocol.need
        if need("centre_crop") > need("image_size"):
            raise UserError(
                f"centre_crop {need('centre_crop')} is larger than image_size {need('image_size')}, which it is cut "
                f"from: --set centre_crop=N takes at most that side."
            )

    def start_epoch(self, epoch: int, seeds: Sequence[int]) -> None:
        """Restart the stream of the views."""
        self._views = self.setting.stream(f"affine views {epoch}", seed=seeds[0])

    def image_features(self, images: Tensor) -> Tensor:
        """Features ``[B, D]`` of the centres of images ``[B, 3, S, S]``, warped while training."""
        need = self.setting.protocol.need
        if self.training:
            count, degrees, shear = len(images), need("affine_degrees"), need("affine_shear")
            mean, std = self.setting.model.normalisation(need("normalisation"))
            black = -per_channel(mean, images) / per_channel(std, images)
            low, high = need("affine_scale")
            angle, tilt = (uniform(count, -most, most, self._views) for most in (degrees, shear))
            images = warped(images, angle, uniform(count, low, high, self._views), tilt, black)
        return super().image_features(centre(images, need("centre_crop")))
