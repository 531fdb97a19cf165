"""The convolution block of a skip connection between an encoder stage and an interleaved transfer layer.

Source: Bulat and Tzimiropoulos, Binarized Convolutional Landmark Localizers, ICCV 2017 (hierarchical, parallel, multi-scale
residual block); named as the skip block by SCAF, section 4.2, and by Dornier's thesis, section 3.3.1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facerecon.errors import ArgumentError


class HierarchicalBlock(nn.Module):
    """(B, inputs, H, W) -> (B, outputs, H, W): three chained 3 x 3 convolutions, their outputs side by side, and a shortcut.

    Each convolution is preceded by batch normalisation and ReLU and reads the one before it; they give a half, a quarter and a
    quarter of the channels, so that the parts see 3, 5 and 7 px. The shortcut is the input itself, or normalisation, ReLU
    and a 1 x 1 convolution where the channel counts differ.

    Args:
        outputs: a multiple of 4.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        if outputs % 4:
            raise ArgumentError(f"outputs: wanted a multiple of 4, got {outputs}")
        half, quarter = outputs // 2, outputs // 4
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, half, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, quarter, 3, 1, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(quarter)
        self.conv3 = nn.Conv2d(quarter, quarter, 3, 1, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = None
        if inputs != outputs:
            self.shortcut = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(inplace=True),
                                          nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv1(self.relu(self.bn1(x)))
        second = self.conv2(self.relu(self.bn2(first)))
        third = self.conv3(self.relu(self.bn3(second)))
        return torch.cat((first, second, third), dim=1) + (x if self.shortcut is None else self.shortcut(x))
