"""The two discriminators of the adversarial autoencoder; used in training only.

Sources: Makhzani et al. 2015 (latent code against its prior); Browatzki and Wallraven, 3FabRec, section 3.2 (terms L_enc and
L_adv); Radford et al. 2016 (strided convolutional discriminator, LeakyReLU).
"""

from __future__ import annotations

from torch import Tensor, nn

from facerecon.checks import check_choice, check_shape
from facerecon.gmda.autoencoder import IMAGE_SIZES


class LatentDiscriminator(nn.Module):
    """(B, latent) -> (B,) logits: a code drawn from N(0, I), or one that an encoder gave? Two hidden layers of 1,000."""

    def __init__(self, *, latent_size: int = 99, hidden: int = 1000) -> None:
        super().__init__()
        self.latent_size = latent_size
        self.lin1 = nn.Linear(latent_size, hidden)
        self.lin2 = nn.Linear(hidden, hidden)
        self.lin3 = nn.Linear(hidden, 1)
        self.act = nn.LeakyReLU(0.2)

    def forward(self, latent: Tensor) -> Tensor:
        check_shape("latent", latent, ("batch", self.latent_size))
        return self.lin3(self.act(self.lin2(self.act(self.lin1(latent)))))[:, 0]


class ImageDiscriminator(nn.Module):
    """(B, 3, S, S) normalised images -> (B,) logits: a photo, or a reconstruction?

    Strided 4 x 4 convolutions down to 4 px. Batch statistics are left out: they would let photos and reconstructions, which
    come in separate batches, be told apart by their batch alone.
    """

    def __init__(self, *, image_size: int = 256, width: int = 32) -> None:
        super().__init__()
        check_choice("image_size", image_size, IMAGE_SIZES)
        self.image_size = image_size
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        side, channels = image_size // 2, width
        while side > 4:
            wider = min(2 * channels, 8 * width)
            layers += [nn.Conv2d(channels, wider, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
            side, channels = side // 2, wider
        layers.append(nn.Conv2d(channels, 1, 4))
        self.main = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        check_shape("images", images, ("batch", 3, self.image_size, self.image_size))
        return self.main(images)[:, 0, 0, 0]
