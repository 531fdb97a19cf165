"""The adapted network: a pretrained encoder and decoder, with transfer layers between the decoder's blocks.

Source: Dornier's thesis, chapter 2, figures 2.4, 2.6 and 2.7 (GMDA-R); Browatzki and Wallraven, 3FabRec, section 3.3;
Dornier et al., SCAF, section 3.1 (skip connections).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from facerecon.errors import ArgumentError
from facerecon.gmda.autoencoder import Autoencoder
from facerecon.gmda.transfer import REWIRED, TransferLayer
from facerecon.gmda.tuned import TunedNetwork

MAP_SIZE = 128


class AdaptedNetwork(TunedNetwork):
    """(B, 3, S, S) normalised images -> (B, outputs, 128, 128) raw maps, differentiable in images and parameters.

    Args:
        autoencoder: its encoder and decoder become parts of this network (they are not copied).
        transfers: the transfer layers, one for each of the decoder's first blocks, all of one kind.
        skips: one block per transfer layer, from the encoder stage of the same side; or None.
        head: from the last transfer layer's output to the maps; None where that layer gives them itself.
        outputs: channels of the maps.

    The decoder is frozen at first, with its statistics; the encoder's weights learn, its statistics do not. `set_trainable`
    changes both.
    """

    def __init__(self, autoencoder: Autoencoder, *, transfers: list[TransferLayer], skips: list[nn.Module] | None,
                 head: nn.Module | None, outputs: int) -> None:
        super().__init__()
        kinds = {transfer.kind for transfer in transfers}
        if len(kinds) != 1 or len(transfers) > len(autoencoder.decoder.blocks):
            most = len(autoencoder.decoder.blocks)
            raise ArgumentError(f"transfers: wanted 1 to {most} layers of one kind, got {len(transfers)} of {sorted(kinds)}")
        if skips is not None and len(skips) != len(transfers):
            raise ArgumentError(f"skips: wanted {len(transfers)}, got {len(skips)}")
        self.kind, self.outputs = kinds.pop(), outputs
        self.encoder, self.decoder = autoencoder.encoder, autoencoder.decoder
        self.transfers = nn.ModuleList(transfers)
        self.skips = None if skips is None else nn.ModuleList(skips)
        self.head = head
        self.set_trainable()

    @property
    def config(self) -> dict[str, Any]:
        return {"network": "adapted", **super().config, "kind": self.kind, "skips": self.skips is not None,
                "layers": len(self.transfers)}

    def pretrained_decoder(self) -> list[nn.Module]:
        decoder = self.decoder
        return [decoder.fc, decoder.conv1, decoder.bn1, *decoder.blocks[:len(self.transfers)]]

    def forward(self, images: Tensor) -> Tensor:
        encoding = self.encoder(images)
        x, flow = self.decoder.seed(encoding.latent), None
        for index, (block, transfer) in enumerate(zip(self.decoder.blocks, self.transfers)):
            x = block(x)
            skip = None if self.skips is None else self.skips[index](encoding.stages[x.shape[-1]])
            flow = transfer(x, flow, skip)
            if self.kind in REWIRED:
                x = flow
        return flow if self.head is None else self.head(flow)


@torch.no_grad()
def initialise_identity(network: AdaptedNetwork) -> None:
    """Set the transfer layers so that the network repeats its decoder: the seed of a test, and of adaptation to images.

    Afterwards a network of 4 layers and 3 outputs gives what the decoder's output layer makes of the 64 px stage (at 128 px:
    its image before the tanh), and one of 5 layers and 64 outputs gives the decoder's 128 px stage.

    Raises:
        ArgumentError: for another number of outputs, or with skip connections where they are added to the decoder's features.
    """
    layers = len(network.transfers)
    wanted = 3 if layers == 4 else network.decoder.channels[layers - 1]
    if network.outputs != wanted:
        raise ArgumentError(f"outputs: identity wants {wanted} with {layers} layers, got {network.outputs}")
    if network.skips is not None and network.kind in ("original", "two_flow_sum"):
        raise ArgumentError(f"skips: a {network.kind} layer adds them to the decoder's features, so it cannot repeat these")
    for index, transfer in enumerate(network.transfers):
        transfer.conv.weight.zero_()
        if network.kind in REWIRED or index == layers - 1:
            # Rows beyond the block's channels belong to the flow and stay zero.
            for channel in range(transfer.channels):
                transfer.conv.weight[channel, channel, 1, 1] = 1.0
    if network.head is not None:
        network.head.weight.copy_(network.decoder.lin.weight)
