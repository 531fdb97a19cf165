"""The autoencoder: its published sizes, its stages, growing, and that it keeps nothing."""

from __future__ import annotations

import pytest
import torch

from facerecon.errors import ArgumentError
from facerecon.gmda import ImageDiscriminator, LatentDiscriminator, build_autoencoder, denormalise, grow_autoencoder, normalise


def count(module) -> tuple[int, int]:
    return sum(parameter.numel() for parameter in module.parameters()), len(module.state_dict())


def test_published_sizes(small_autoencoder, large_autoencoder):
    assert count(large_autoencoder.encoder) == (11_379_491, 152)
    assert count(large_autoencoder.decoder) == (10_868_096, 99)
    assert count(small_autoencoder.encoder) == (11_227_299, 122)
    assert count(small_autoencoder.decoder) == (10_699_776, 81)


@torch.no_grad()
def test_stages_of_encoder_and_decoder_agree(small_autoencoder, large_autoencoder, images):
    for network in (small_autoencoder, large_autoencoder):
        size = network.image_size
        encoding = network.encoder(images(size))
        decoding = network.decoder(encoding.latent)
        assert encoding.latent.shape == (2, 99) and decoding.images.shape == (2, 3, size, size)
        assert sorted(encoding.stages) == [4, *sorted(decoding.stages)]
        assert sorted(decoding.stages) == [8, 16, 32, 64, 128][:4 if size == 128 else 5]
        for side, features in decoding.stages.items():
            assert features.shape == encoding.stages[side].shape == (2, features.shape[1], side, side)
        assert decoding.images.abs().max() < 1
        assert torch.equal(decoding.images, network(images(size)).images)


def test_normalise_is_undone_and_only_shifts():
    pixels = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(denormalise(normalise(pixels)), pixels)
    assert normalise(torch.zeros(1, 3, 1, 1))[0, :, 0, 0].tolist() == pytest.approx([-0.518, -0.418, -0.361])
    assert denormalise(torch.full((1, 3, 1, 1), 9.0)).max() == 1


@torch.no_grad()
def test_growing_copies_every_shared_layer(small_autoencoder, images):
    grown = grow_autoencoder(small_autoencoder).eval()
    assert grown.image_size == 256 and count(grown.encoder)[0] == 11_379_491
    state = grown.state_dict()
    for name, value in small_autoencoder.state_dict().items():
        assert torch.equal(state[name], value), name
        assert state[name].data_ptr() != value.data_ptr(), name
    # The new stage passes its input on, and the new block interpolates.
    features = torch.rand(1, 64, 8, 8)
    torch.testing.assert_close(grown.encoder.layer0(features), features)
    flat = grown.decoder.layer5(torch.ones(1, 64, 8, 8))[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(flat, torch.ones_like(flat), rtol=0, atol=1e-4)
    assert grown(images(256)).images.shape == (2, 3, 256, 256)
    with pytest.raises(ArgumentError, match="image_size"):
        grow_autoencoder(grown)


def test_wrong_shapes_are_refused(small_autoencoder):
    with pytest.raises(ArgumentError, match="128"):
        small_autoencoder(torch.zeros(1, 3, 256, 256))
    with pytest.raises(ArgumentError, match="image_size"):
        build_autoencoder(image_size=64)
    with pytest.raises(ArgumentError, match="latent_size"):
        build_autoencoder(latent_size=0)


@pytest.mark.parametrize("size", [128, 256])
def test_discriminators_give_a_logit_each(size, images):
    assert ImageDiscriminator(image_size=size, width=4)(images(size)).shape == (2,)
    latent = LatentDiscriminator()
    assert latent(torch.zeros(3, 99)).shape == (3,)
    # lin1 99 x 1000, lin2 1000 x 1000, lin3 1000 x 1, each with a bias.
    assert count(latent)[0] == 99 * 1000 + 1000 + 1000 * 1000 + 1000 + 1000 + 1
