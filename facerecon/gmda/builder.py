"""The one place with numbers: builds every network of this package from a few options."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from facerecon.checks import check_choice
from facerecon.errors import ArgumentError
from facerecon.gmda.autoencoder import Autoencoder, Decoder, Encoder
from facerecon.gmda.baselines import PlainNetwork
from facerecon.gmda.network import AdaptedNetwork
from facerecon.gmda.skip import HierarchicalBlock
from facerecon.gmda.transfer import ITL_KINDS, TransferLayer

LAYERS = (4, 5)
LARGEST_OUTPUTS = 1024
LARGEST_LATENT = 4096
PLAIN_WIDTHS = (512, 256, 128, 64, 64)


def build_autoencoder(*, image_size: int = 256, latent_size: int = 99) -> Autoencoder:
    """An autoencoder with random weights; see `Encoder` and `Decoder`."""
    _count("latent_size", latent_size, LARGEST_LATENT)
    return Autoencoder(Encoder(image_size=image_size, latent_size=latent_size),
                       Decoder(image_size=image_size, latent_size=latent_size))


@torch.no_grad()
def grow_autoencoder(autoencoder: Autoencoder) -> Autoencoder:
    """A 256 px autoencoder from a trained 128 px one (progressive training, 3FabRec, section 4.2.1).

    Layers that both have are copied. The new ones begin as neutral as their form allows: residual branches at zero, the new
    encoder stage's shortcut and the new decoder block's upsampling as identity and bilinear interpolation.
    """
    check_choice("autoencoder.image_size", autoencoder.image_size, (128,))
    grown = build_autoencoder(image_size=256, latent_size=autoencoder.encoder.latent_size)
    state = grown.state_dict()
    state.update({name: value.clone() for name, value in autoencoder.state_dict().items()})
    grown.load_state_dict(state)
    encoder, block = grown.encoder, grown.decoder.layer5[0]
    for residual in (*encoder.layer0, block):
        residual.bn2.weight.zero_()
    shortcut = encoder.layer1[0].downsample[0].weight
    shortcut.copy_(torch.eye(shortcut.shape[0])[:, :, None, None])
    taps = torch.tensor([0.25, 0.75, 0.75, 0.25])
    upsample = block.upsample[0].weight
    upsample.copy_(torch.eye(upsample.shape[0])[:, :, None, None] * (taps[:, None] * taps))
    return grown.to(next(autoencoder.parameters()).device)


def build_adapted(autoencoder: Autoencoder, *, outputs: int, kind: str = "original", skips: bool = False,
                  layers: int = 4) -> AdaptedNetwork:
    """An adapted network with new transfer layers on a copy of an autoencoder.

    Args:
        outputs: channels of the maps: one per landmark, or 3 for a PNCC.
        kind: of the transfer layers, one of `ITL_KINDS`.
        skips: whether encoder stages are connected to the transfer layers.
        layers: 4: transfer layers after the 8, 16, 32 and 64 px blocks, then a 4 x 4 deconvolution to 128 px (3FabRec, SCAF); 5
            (256 px only): a fifth one after the 128 px block gives the maps (Dornier's thesis, section 3.3.1).
    """
    _count("outputs", outputs, LARGEST_OUTPUTS)
    check_choice("kind", kind, ITL_KINDS)
    check_choice("skips", skips, (False, True))
    autoencoder = copy.deepcopy(autoencoder)
    check_choice("layers", layers, LAYERS if autoencoder.image_size == 256 else LAYERS[:1])
    channels = autoencoder.decoder.channels[:layers]
    transfers: list[TransferLayer] = []
    arriving = 0
    for index, width in enumerate(channels):
        last = index == len(channels) - 1
        given = outputs if last and layers == 5 else channels[index + 1] if kind.startswith("two_flow") and not last else width
        transfers.append(TransferLayer(kind, channels=width, outputs=given, arriving=arriving, skip=skips))
        arriving = given
    blocks = None
    if skips:
        blocks = [HierarchicalBlock(width, transfer.skip_channels) for width, transfer in zip(channels, transfers)]
    head = nn.ConvTranspose2d(channels[-1], outputs, 4, 2, 1, bias=False) if layers == 4 else None
    if head is not None:
        _start_small(head)
    return AdaptedNetwork(autoencoder, transfers=transfers, skips=blocks, head=head, outputs=outputs)


def build_plain(encoder: Encoder, *, outputs: int) -> PlainNetwork:
    """The baseline: a plain decoder of the autoencoder's widths, with random weights, on a copy of an encoder."""
    _count("outputs", outputs, LARGEST_OUTPUTS)
    layers: list[nn.Module] = []
    for inputs, width in zip(PLAIN_WIDTHS, PLAIN_WIDTHS[1:]):
        layers += [nn.ConvTranspose2d(inputs, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    head = nn.ConvTranspose2d(PLAIN_WIDTHS[-1], outputs, 4, 2, 1, bias=False)
    _start_small(head)
    return PlainNetwork(copy.deepcopy(encoder), layers=layers, head=head, outputs=outputs)


def build_from_config(config: Mapping[str, Any]) -> Autoencoder | Encoder | Decoder | AdaptedNetwork | PlainNetwork:
    """A network with random weights from the `config` of another.

    Raises:
        ArgumentError: for a missing, unknown or wrong entry; nothing is built before the entries are known.
    """
    options = dict(config)
    name = check_choice("network", options.pop("network", None), ("autoencoder", "encoder", "decoder", "adapted", "plain"))
    wanted = {"plain": {"outputs"}, "adapted": {"outputs", "kind", "skips", "layers"}}.get(name, set())
    wanted = wanted | {"image_size", "latent_size"}
    if set(options) != wanted:
        raise ArgumentError(f"config: a network {name!r} wants {', '.join(sorted(wanted))}; got {', '.join(sorted(options))}")
    sizes = {key: options.pop(key) for key in ("image_size", "latent_size")}
    if "outputs" in options:
        _count("outputs", options["outputs"], LARGEST_OUTPUTS)
    if name == "plain":
        return build_plain(build_autoencoder(**sizes).encoder, **options)
    autoencoder = build_autoencoder(**sizes)
    if name in ("encoder", "decoder"):
        return getattr(autoencoder, name)
    return build_adapted(autoencoder, **options) if name == "adapted" else autoencoder


def _start_small(head: nn.Module) -> None:
    # Most of a target map is empty: starting near empty maps saves the steps that would be spent on unlearning noise.
    nn.init.normal_(head.weight, std=1e-3)


def _count(name: str, value: int, largest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
        raise ArgumentError(f"{name}: wanted an integer from 1 to {largest}, got {value!r}")
