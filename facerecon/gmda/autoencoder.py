"""The face autoencoder: a ResNet-18 encoder, an inverted ResNet-18 decoder, 99 numbers between them.

Source: Browatzki and Wallraven, 3FabRec, CVPR 2020, section 4.2.1; used as GMDA-R in Dornier's thesis, section 2.2.1. At
256 px the encoder has 11,379,491 parameters and the decoder 10,868,096; at 128 px both lack their outermost layer
(11,227,299 and 10,699,776).

Images are RGB minus `IMAGE_MEAN`, so that the decoder's tanh covers them; `normalise` and `denormalise` convert. Nothing is
kept between two calls: stage features are returned.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from facerecon.checks import check_choice, check_shape
from facerecon.gmda.blocks import InvertedBlock, ResidualBlock

IMAGE_MEAN = (0.518, 0.418, 0.361)
IMAGE_SIZES = (128, 256)


def normalise(images: Tensor) -> Tensor:
    """(B, 3, H, W) RGB in [0, 1] -> the autoencoder's space (the mean taken off, no scaling)."""
    return images - _mean(images)


def denormalise(images: Tensor) -> Tensor:
    """The inverse of `normalise`, clipped to [0, 1]."""
    return (images + _mean(images)).clamp(0.0, 1.0)


def _mean(images: Tensor) -> Tensor:
    check_shape("images", images, ("batch", 3, "height", "width"))
    return torch.tensor(IMAGE_MEAN, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)


class Encoding(NamedTuple):
    """What the encoder gives: the latent code (B, latent) and its stage features keyed by their side length in px."""

    latent: Tensor
    stages: dict[int, Tensor]


class Decoding(NamedTuple):
    """What the decoder gives: images (B, 3, S, S) in the normalised space and its stage features keyed by side length."""

    images: Tensor
    stages: dict[int, Tensor]


class Encoder(nn.Module):
    """ResNet-18 from (B, 3, S, S) normalised images to a latent code.

    Args:
        image_size: S, 128 or 256. The 256 px version has a further stage (`layer0`), so the two do not share weights files.
        latent_size: length of the code.

    Stage features have 4, 8, 16, 32 and 64 px a side (and 128 at 256 px); from 8 px on with as many channels as the decoder's
    features of that side, which is what skip connections rely on.
    """

    def __init__(self, *, image_size: int = 256, latent_size: int = 99) -> None:
        super().__init__()
        check_choice("image_size", image_size, IMAGE_SIZES)
        self.image_size, self.latent_size = image_size, latent_size
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        large = image_size == 256
        if large:
            self.layer0 = nn.Sequential(ResidualBlock(64, 64), ResidualBlock(64, 64))
        self.layer1 = nn.Sequential(ResidualBlock(64, 64, stride=2 if large else 1), ResidualBlock(64, 64))
        self.layer2 = nn.Sequential(ResidualBlock(64, 128, stride=2), ResidualBlock(128, 128))
        self.layer3 = nn.Sequential(ResidualBlock(128, 256, stride=2), ResidualBlock(256, 256))
        self.layer4 = nn.Sequential(ResidualBlock(256, 512, stride=2), ResidualBlock(512, 512))
        self.fc = nn.Linear(512, latent_size)

    @property
    def config(self) -> dict[str, Any]:
        """What `build_from_config` needs to make this network again, with random weights."""
        return {"network": "encoder", "image_size": self.image_size, "latent_size": self.latent_size}

    def forward(self, images: Tensor) -> Encoding:
        check_shape("images", images, ("batch", 3, self.image_size, self.image_size))
        x = self.relu(self.bn1(self.conv1(images)))
        stages = {x.shape[-1]: x}
        x = self.maxpool(x)
        for name in ("layer0", "layer1", "layer2", "layer3"):
            if hasattr(self, name):
                x = getattr(self, name)(x)
                stages[x.shape[-1]] = x
        stages[4] = self.layer4(x)
        return Encoding(self.fc(stages[4].mean((2, 3))), stages)


class Decoder(nn.Module):
    """Inverted ResNet-18 from a latent code (B, latent) to (B, 3, S, S) images in the normalised space, within (-1, 1).

    `seed` gives the 4 x 4 start, `blocks` the blocks from 8 px upward, and `output` the last deconvolution, so that an adapted
    network can walk them one by one.
    """

    def __init__(self, *, image_size: int = 256, latent_size: int = 99) -> None:
        super().__init__()
        check_choice("image_size", image_size, IMAGE_SIZES)
        self.image_size, self.latent_size = image_size, latent_size
        self.fc = nn.Linear(latent_size, 512)
        self.conv1 = nn.ConvTranspose2d(512, 512, 4, 1, 0, bias=False)
        self.bn1 = nn.BatchNorm2d(512)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(InvertedBlock(512, 256))
        self.layer2 = nn.Sequential(InvertedBlock(256, 128))
        self.layer3 = nn.Sequential(InvertedBlock(128, 64))
        self.layer4 = nn.Sequential(InvertedBlock(64, 64))
        if image_size == 256:
            self.layer5 = nn.Sequential(InvertedBlock(64, 64))
        self.lin = nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False)

    @property
    def blocks(self) -> list[nn.Module]:
        """The blocks in order; their outputs have 8, 16, 32, 64 (and 128) px a side."""
        names = ("layer1", "layer2", "layer3", "layer4", "layer5")
        return [getattr(self, name) for name in names if hasattr(self, name)]

    @property
    def channels(self) -> list[int]:
        """Channels that each block gives."""
        return [block[0].bn2.num_features for block in self.blocks]

    def seed(self, latent: Tensor) -> Tensor:
        """(B, latent) -> (B, 512, 4, 4): the start of the walk."""
        check_shape("latent", latent, ("batch", self.latent_size))
        return self.relu(self.bn1(self.conv1(self.fc(latent)[:, :, None, None])))

    def output(self, x: Tensor) -> Tensor:
        """(B, 64, S / 2, S / 2) -> (B, 3, S, S): the image."""
        return torch.tanh(self.lin(x))

    @property
    def config(self) -> dict[str, Any]:
        """What `build_from_config` needs to make this network again, with random weights."""
        return {"network": "decoder", "image_size": self.image_size, "latent_size": self.latent_size}

    def forward(self, latent: Tensor) -> Decoding:
        x, stages = self.seed(latent), {}
        for block in self.blocks:
            x = block(x)
            stages[x.shape[-1]] = x
        return Decoding(self.output(x), stages)


class Autoencoder(nn.Module):
    """Encoder and decoder of one size: (B, 3, S, S) normalised images -> `Decoding` of their reconstructions."""

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        check_choice("decoder.image_size", decoder.image_size, (encoder.image_size,))
        check_choice("decoder.latent_size", decoder.latent_size, (encoder.latent_size,))
        self.encoder, self.decoder = encoder, decoder

    @property
    def image_size(self) -> int:
        return self.encoder.image_size

    @property
    def config(self) -> dict[str, Any]:
        """What `build_from_config` needs to make this network again, with random weights."""
        return {"network": "autoencoder", "image_size": self.image_size, "latent_size": self.encoder.latent_size}

    def forward(self, images: Tensor) -> Decoding:
        return self.decoder(self.encoder(images).latent)
