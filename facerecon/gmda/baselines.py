"""The baseline of the adapted network: the same encoder, with a plain decoder that knows nothing of faces.

Source: Xiao et al., Simple Baselines for Human Pose Estimation and Tracking, ECCV 2018 (deconvolutions on a
ResNet's last features).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from facerecon.gmda.autoencoder import Encoder
from facerecon.gmda.tuned import TunedNetwork


class PlainNetwork(TunedNetwork):
    """(B, 3, S, S) normalised images -> (B, outputs, 128, 128) raw maps, through deconvolutions from the 4 x 4 features.

    Args:
        encoder: becomes part of this network (it is not copied); its latent code is not used.
        layers: pairs of 4 x 4 deconvolution (stride 2) and batch normalisation, each followed by ReLU.
        head: the last deconvolution.
    """

    def __init__(self, encoder: Encoder, *, layers: list[nn.Module], head: nn.Module, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.encoder, self.layers, self.head = encoder, nn.Sequential(*layers), head
        self.set_trainable()

    @property
    def config(self) -> dict[str, Any]:
        return {"network": "plain", **super().config}

    def set_trainable(self, encoder: bool = True, decoder: bool = False, *, encoder_statistics: str = "frozen") -> None:
        super().set_trainable(encoder, decoder, encoder_statistics=encoder_statistics)
        # The code is not used: without a gradient it would hold up a distributed run, which waits for one.
        self.encoder.fc.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.layers(self.encoder(images).stages[4]))
