"""Interleaved transfer layers (ITL): convolutions between the blocks of a frozen decoder that turn it to another output.

Source: Browatzki and Wallraven, 3FabRec, section 3.3.1 (original); Dornier's thesis, sections 2.3.1 to 2.3.3 and figures 2.6
and 2.7 (two-flow, hybrid, and where a skip connection joins). What the figures leave open is settled as follows: an ITL is a
3 x 3 convolution without bias; the flow is upsampled by repeating pixels, as hourglass networks do; a first ITL, which no
flow reaches, reads the decoder block alone, or the block fused with the skip connection where there is one.

    kind              decoder block i + 1 reads    ITL i + 1 reads                            channels that ITL i gives
    original          ITL i                        block [+ skip]                             those of block i
    two_flow_concat   block i                      block beside (flow [+ skip])               those of block i + 1
    two_flow_sum      block i                      block plus (flow [+ skip])                 those of block i + 1
    hybrid            ITL i                        block beside (flow [+ skip])               those of block i

where flow = upsampled LeakyReLU(BatchNorm(ITL i)). Two-flow ITLs adapt the channels themselves, which the sum needs; a
hybrid one cannot, since its output must fit the decoder's next block.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from facerecon.checks import check_choice
from facerecon.errors import ArgumentError

ITL_KINDS = ("original", "two_flow_concat", "two_flow_sum", "hybrid")
REWIRED = ("original", "hybrid")
"""Kinds whose output goes on through the decoder's next block; the others leave the decoder's own flow untouched."""


class TransferLayer(nn.Module):
    """One ITL: a decoder block's features (B, channels, H, W), with the flow and the skip, -> (B, outputs, H, W).

    Args:
        kind: one of `ITL_KINDS`.
        channels: of the decoder block.
        outputs: channels that this layer gives.
        arriving: channels of the previous ITL's output, 0 for the first layer; "original" takes none.
        skip: whether a skip connection joins; its features have `skip_channels`.
    """

    def __init__(self, kind: str, *, channels: int, outputs: int, arriving: int = 0, skip: bool = False) -> None:
        super().__init__()
        check_choice("kind", kind, ITL_KINDS)
        self.kind, self.channels, self.skip = kind, channels, skip
        self.arriving = 0 if kind == "original" else arriving
        if kind == "two_flow_sum" and arriving not in (0, channels):
            raise ArgumentError(f"arriving: a sum wants as many channels as the block's {channels}, got {arriving}")
        beside = kind in ("two_flow_concat", "hybrid") and (self.arriving or skip)
        self.norm = nn.BatchNorm2d(self.arriving) if self.arriving else None
        self.conv = nn.Conv2d(channels + (self.skip_channels if beside else 0), outputs, 3, 1, 1, bias=False)

    @property
    def skip_channels(self) -> int:
        """Channels that a skip connection must have here: those of the flow, or of the block where no flow arrives."""
        return self.arriving or self.channels

    def forward(self, features: Tensor, flow: Tensor | None = None, skip: Tensor | None = None) -> Tensor:
        """Args: flow: (B, arriving, H / 2, W / 2), the previous ITL's output; skip: (B, skip_channels, H, W)."""
        if (skip is not None) != self.skip:
            raise ArgumentError(f"skip: wanted {'a tensor, got None' if self.skip else 'None, got a tensor'}")
        if self.kind == "original":
            return self.conv(features if skip is None else features + skip)
        if self.norm is not None:
            flow = functional.interpolate(functional.leaky_relu(self.norm(flow), 0.01), scale_factor=2, mode="nearest")
            flow = flow if skip is None else flow + skip
        else:
            flow = skip
        if flow is None:
            return self.conv(features)
        return self.conv(features + flow if self.kind == "two_flow_sum" else torch.cat((features, flow), dim=1))
