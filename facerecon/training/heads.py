"""What an adapted network is trained for: targets, loss, error and pictures of one kind of output.

`HeatmapHead` is landmark detection (3FabRec, SCAF, GMDA-R), `PnccHead` the projected normalised coordinate code. Both have the
same members, so that the training task needs to know neither landmarks nor codes.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from facerecon.alignment import LandmarkScheme, decode_heatmaps, encode_heatmaps, labelled_weights, landmark_nme
from facerecon.alignment.heatmaps import SIGMA
from facerecon.gmda.losses import absolute_loss, squared_loss


@dataclasses.dataclass(frozen=True)
class HeatmapHead:
    """Landmarks as heatmaps, mean squared error, NME.

    Attributes:
        scheme: of the points.
        image_size: side of the network's input in px.
        sigma: of the heatmaps, px of a 256 px input.
        emphasis: of the loss; see `gmda.losses.squared_loss`.
        method: how heatmaps are decoded for the error.
        normaliser: of the error; see `alignment.landmark_nme`.
    """

    scheme: LandmarkScheme
    image_size: int
    sigma: float = SIGMA
    emphasis: float = 0.0
    method: str = "subpixel"
    normaliser: str = "inter_ocular"
    metric: str = dataclasses.field(default="nme", init=False)

    @property
    def outputs(self) -> int:
        """Channels that the network needs."""
        return len(self.scheme)

    def counts(self, batch: dict[str, Any]) -> Tensor:
        """(B,) how many labelled landmarks each sample has: its weight in the loss of the batch."""
        return labelled_weights(batch["points"]).sum(1)

    def loss(self, maps: Tensor, batch: dict[str, Any]) -> Tensor:
        """Mean squared error of heatmaps (B, L, M, M) over the labelled landmarks; 0 when there is none."""
        points = batch["points"]
        target = encode_heatmaps(points, image_size=self.image_size, map_size=maps.shape[-1], sigma=self.sigma)
        return squared_loss(maps, target, weight=labelled_weights(points), emphasis=self.emphasis)

    def errors(self, maps: Tensor, batch: dict[str, Any]) -> Tensor:
        """(B,) NME of each sample over its labelled points, as a fraction; infinity where the maps are not finite."""
        points, _ = decode_heatmaps(maps, image_size=self.image_size, method=self.method)
        truth, found = batch["points"].double().cpu(), points.double().cpu()
        valid = labelled_weights(truth).bool()
        failed = ~torch.isfinite(found).all(2)
        nme = landmark_nme(torch.where(failed[..., None], truth, found).numpy(), truth.numpy(), normaliser=self.normaliser,
                           scheme=self.scheme, valid=valid.numpy())
        return torch.where((failed & valid).any(1), torch.inf, torch.as_tensor(nme, dtype=torch.float64))

    def pictures(self, maps: Tensor) -> Tensor:
        """(B, 3, M, M) in [0, 1]: the brightest of all heatmaps at each pixel, in grey."""
        return maps.amax(1, keepdim=True).clamp(0, 1).expand(-1, 3, -1, -1)

    def targets(self, batch: dict[str, Any], map_size: int) -> Tensor:
        """(B, L, M, M) the maps that were wanted."""
        return encode_heatmaps(batch["points"], image_size=self.image_size, map_size=map_size, sigma=self.sigma)


@dataclasses.dataclass(frozen=True)
class PnccHead:
    """PNCC maps, mean absolute error (thesis, section 4.2.2.1)."""

    metric: str = dataclasses.field(default="pncc_l1", init=False)

    @property
    def outputs(self) -> int:
        """Channels that the network needs: x, y, z."""
        return 3

    def counts(self, batch: dict[str, Any]) -> Tensor:
        """(B,) ones: every sample weighs alike."""
        return torch.ones(len(batch["maps"]), device=batch["maps"].device)

    def loss(self, maps: Tensor, batch: dict[str, Any]) -> Tensor:
        """Mean absolute error of maps (B, 3, M, M)."""
        return absolute_loss(maps, batch["maps"])

    def errors(self, maps: Tensor, batch: dict[str, Any]) -> Tensor:
        """(B,) mean absolute error of each sample's map, clipped to the range of codes as the predictor clips it."""
        return (maps.clamp(0, 1) - batch["maps"]).abs().mean((1, 2, 3)).double().cpu()

    def pictures(self, maps: Tensor) -> Tensor:
        """(B, 3, M, M) the codes as colours."""
        return maps.clamp(0, 1)

    def targets(self, batch: dict[str, Any], map_size: int) -> Tensor:
        """(B, 3, M, M) the maps that were wanted."""
        return batch["maps"]


Head = HeatmapHead | PnccHead
