"""ResNets as torchvision builds them, also with fewer channels: what a CPU trains in an evening."""

from __future__ import annotations

import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

_LAYERS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


class SlimResNet(ResNet):
    """A ResNet of basic blocks whose four stages have `width` times their channels; the first convolution keeps its 64."""

    def __init__(self, depth: int, width: float) -> None:
        # Before the stages are made, which is what `ResNet` does at once.
        self.share = width
        super().__init__(BasicBlock, list(_LAYERS[depth]))
        self.fc = nn.Linear(self._scaled(512), 1)

    def _make_layer(self, block: type[BasicBlock], planes: int, *arguments: object, **options: object) -> nn.Sequential:
        return super()._make_layer(block, self._scaled(planes), *arguments, **options)

    def _scaled(self, channels: int) -> int:
        return round(channels * self.share)


def make_trunk(depth: int, width: float) -> ResNet:
    """torchvision's ResNet of this depth with random weights, or a slim one for a width below 1 (depths 18 and 34)."""
    return getattr(torchvision.models, f"resnet{depth}")(weights=None) if width == 1 else SlimResNet(depth, width)
