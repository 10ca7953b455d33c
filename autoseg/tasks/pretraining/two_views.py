"""What methods that compare two views of an image have in common: how large the views are."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar

import numpy as np
from pydantic import Field

from autoseg.tasks.pretraining.batch import DrawnExample
from autoseg.tasks.pretraining.drawing import drawn, two_views
from autoseg.tasks.pretraining.protocol import ViewMethod
from autoseg.tasks.pretraining.views import Shape


class PairMethod(ViewMethod, ABC):
    """A method that compares two views of an image, and perhaps views of other images.

    Attributes:
        view_share: length of a view over the patch's, in whole blocks and at least two. Views of a part of the patch
            differ in what they show, so that they are told apart by anatomy and not by scan alone; and of them more
            fit into a step.
    """

    compares: ClassVar[bool] = True

    view_share: float = Field(default=0.6, gt=0, le=1)

    @property
    def view_size(self) -> Shape:
        """Voxels of a view."""
        return self.setting.smaller(self.view_share)

    def draw(self, rng: np.random.Generator, shape: Shape) -> DrawnExample:
        """Two views that overlap."""
        setting = self.setting
        return drawn(rng, two_views(rng, shape, setting.framed(self.view_size), setting.views, setting.channels))
