"""The three networks of MTCNN as plain functions of their weights.

Source: Zhang, Zhang, Li, Qiao: Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks, IEEE
Signal Processing Letters 2016 (arXiv 1604.02878), figure 2. The released weights use PReLU, and pooling that rounds up.

All take pixels (N, 3, H, W) float RGB as (value - 127.5) / 128 and return the face logit (log of the odds that it is a
face), box corrections in widths of the window (x0, y0, x1, y1 corner shifts), and ONet the five points in widths of the
window from its top-left corner: five x, then five y.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

Weights = dict[str, torch.Tensor]


def proposal(weights: Weights, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """PNet over a picture of any size from 12 px: logits (N, h, w) and box corrections (N, 4, h, w).

    Output cell (i, j) sees the 12 x 12 window whose corner is (2 i, 2 j).
    """
    x = _conv(weights, "pnet.conv1", pixels)
    x = F.max_pool2d(x, 2, 2, ceil_mode=True)
    x = _conv(weights, "pnet.conv2", x)
    x = _conv(weights, "pnet.conv3", x)
    score = F.conv2d(x, weights["pnet.score.weight"], weights["pnet.score.bias"])
    return _logit(score), F.conv2d(x, weights["pnet.box.weight"], weights["pnet.box.bias"])


def refinement(weights: Weights, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """RNet on windows (N, 3, 24, 24): logits (N,) and box corrections (N, 4)."""
    x = F.max_pool2d(_conv(weights, "rnet.conv1", pixels), 3, 2, ceil_mode=True)
    x = F.max_pool2d(_conv(weights, "rnet.conv2", x), 3, 2, ceil_mode=True)
    x = _dense(weights, "rnet.dense", _conv(weights, "rnet.conv3", x))
    return _logit(_head(weights, "rnet.score", x)), _head(weights, "rnet.box", x)


def output(weights: Weights, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """ONet on windows (N, 3, 48, 48): logits (N,), box corrections (N, 4) and points (N, 10)."""
    x = F.max_pool2d(_conv(weights, "onet.conv1", pixels), 3, 2, ceil_mode=True)
    x = F.max_pool2d(_conv(weights, "onet.conv2", x), 3, 2, ceil_mode=True)
    x = F.max_pool2d(_conv(weights, "onet.conv3", x), 2, 2, ceil_mode=True)
    x = _dense(weights, "onet.dense", _conv(weights, "onet.conv4", x))
    return _logit(_head(weights, "onet.score", x)), _head(weights, "onet.box", x), _head(weights, "onet.points", x)


def _conv(weights: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    return F.prelu(F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"]), weights[f"{name}.slope"])


def _dense(weights: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    return F.prelu(_head(weights, name, x.flatten(1)), weights[f"{name}.slope"])


def _head(weights: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _logit(two: torch.Tensor) -> torch.Tensor:
    # A softmax over (no face, face) is a logistic function of the difference.
    return two[:, 1] - two[:, 0]
