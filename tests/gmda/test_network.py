"""The adapted network in all its settings: shapes, sizes, identity, what is frozen, and that calls do not touch each other."""

from __future__ import annotations

import pytest
import torch

from facerecon.errors import ArgumentError
from facerecon.gmda import ITL_KINDS, HierarchicalBlock, build_adapted, build_from_config, build_plain, initialise_identity
from facerecon.gmda.losses import squared_loss

SETTINGS = [(kind, skips) for kind in ITL_KINDS for skips in (False, True)]


def new_parameters(network) -> int:
    new = next(group for group in network.parameter_groups() if group["name"] == "transfer")
    return sum(parameter.numel() for parameter in new["params"])


@pytest.mark.parametrize(("kind", "skips"), SETTINGS)
def test_every_setting_gives_maps_and_gradients(kind, skips, small_autoencoder, large_autoencoder, images):
    for autoencoder, layers in ((small_autoencoder, 4), (large_autoencoder, 4), (large_autoencoder, 5)):
        network = build_adapted(autoencoder, outputs=5, kind=kind, skips=skips, layers=layers)
        maps = network(images(autoencoder.image_size))
        assert maps.shape == (2, 5, 128, 128)
        squared_loss(maps, torch.zeros_like(maps)).backward()
        learning = [parameter for group in network.parameter_groups() for parameter in group["params"]]
        assert all(parameter.grad is not None and bool(parameter.grad.isfinite().all()) for parameter in learning)
        assert network.config == build_from_config(network.config).config


def test_parameters_of_table_7(small_autoencoder):
    """3FabRec, Table 7: 881k trainable with all four layers and 68 landmarks, 291k, 143k and 106k with fewer."""
    network = build_adapted(small_autoencoder, outputs=68)
    sizes = [9 * 256 * 256, 9 * 128 * 128, 9 * 64 * 64, 9 * 64 * 64, 16 * 64 * 68]
    assert [transfer.conv.weight.numel() for transfer in network.transfers] + [network.head.weight.numel()] == sizes
    assert new_parameters(network) == sum(sizes) == 880_640
    assert [round(sum(sizes[first:]) / 1000) for first in range(4)] == [881, 291, 143, 106]


def test_parameters_of_the_other_kinds(small_autoencoder):
    """Hand counts without skips: convolutions, two numbers per channel of a norm, and the head 16 * 64 * 5."""
    head = 16 * 64 * 5
    widened = {"two_flow_sum": [(256, 128), (128, 64), (64, 64), (64, 64)],
               "two_flow_concat": [(256, 128), (128 + 128, 64), (64 + 64, 64), (64 + 64, 64)],
               "hybrid": [(256, 256), (128 + 256, 128), (64 + 128, 64), (64 + 64, 64)]}
    for kind, pairs in widened.items():
        norms = 2 * sum(given for _, given in pairs[:-1])
        wanted = sum(9 * taken * given for taken, given in pairs) + norms + head
        assert new_parameters(build_adapted(small_autoencoder, outputs=5, kind=kind)) == wanted, kind


@torch.no_grad()
@pytest.mark.parametrize("kind", ITL_KINDS)
def test_identity_repeats_the_decoder(kind, small_autoencoder, large_autoencoder, images):
    network = build_adapted(small_autoencoder, outputs=3, kind=kind)
    initialise_identity(network)
    expected = small_autoencoder(images()).images
    for mode in (False, True):
        torch.testing.assert_close(torch.tanh(network.train(mode)(images())), expected, rtol=0, atol=1e-5)
    network = build_adapted(large_autoencoder, outputs=64, kind=kind, layers=5)
    initialise_identity(network)
    stage = large_autoencoder(images(256)).stages[128]
    torch.testing.assert_close(network.eval()(images(256)), stage, rtol=0, atol=1e-4)


def test_identity_refuses_what_cannot_repeat(small_autoencoder):
    with pytest.raises(ArgumentError, match="outputs"):
        initialise_identity(build_adapted(small_autoencoder, outputs=4))
    with pytest.raises(ArgumentError, match="skips"):
        initialise_identity(build_adapted(small_autoencoder, outputs=3, skips=True))


@torch.no_grad()
def test_which_flow_the_decoder_sees(small_autoencoder, images):
    """Two-flow layers leave the decoder's own features alone; the others feed it theirs."""
    own = small_autoencoder(images()).stages
    for kind in ITL_KINDS:
        network = build_adapted(small_autoencoder, outputs=3, kind=kind, skips=True).eval()
        seen = []
        for block in network.decoder.blocks:
            block.register_forward_hook(lambda module, arguments, output: seen.append(output))
        network(images())
        untouched = all(torch.equal(features, own[features.shape[-1]]) for features in seen)
        assert untouched == kind.startswith("two_flow"), kind
        assert torch.equal(seen[0], own[8])


@torch.no_grad()
def test_no_part_keeps_a_tensor_of_a_call(small_autoencoder, images):
    network = build_adapted(small_autoencoder, outputs=3, kind="hybrid", skips=True)
    kept = [set(vars(part)) for part in network.modules()]
    network(images())
    assert [set(vars(part)) for part in network.modules()] == kept
    assert not any(isinstance(value, torch.Tensor) for part in network.modules() for value in vars(part).values())


@torch.no_grad()
@pytest.mark.parametrize("kind", ITL_KINDS)
def test_skips_reach_the_maps_at_every_side(kind, small_autoencoder, images):
    network = build_adapted(small_autoencoder, outputs=3, kind=kind, skips=True).eval()
    before = network(images())
    for block in network.skips:
        saved = block.conv1.weight.clone()
        block.conv1.weight.add_(0.1)
        assert not torch.allclose(network(images()), before, atol=1e-7)
        block.conv1.weight.copy_(saved)
    torch.testing.assert_close(network(images()), before)


def stepped(network, x) -> None:
    optimiser = torch.optim.Adam(network.parameter_groups())
    loss = network(x).square().mean()
    loss.backward()
    optimiser.step()


def changed(network, before) -> set[str]:
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


def snapshot(network) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def test_frozen_parts_get_no_gradient_and_keep_their_statistics(small_autoencoder, images):
    network = build_adapted(small_autoencoder, outputs=2, kind="hybrid", skips=True).train()
    before = snapshot(network)
    stepped(network, images())
    moved = changed(network, before)
    assert not any(name.startswith("decoder.") for name in moved)
    assert all(parameter.grad is None for parameter in network.decoder.parameters())
    assert not any(name.startswith("encoder.") and name.endswith(STATISTICS) for name in moved)
    assert "encoder.conv1.weight" in moved and "transfers.0.conv.weight" in moved
    assert "transfers.1.norm.running_mean" in moved and "skips.0.bn1.running_mean" in moved

    network.set_trainable(encoder=False)
    network.zero_grad(set_to_none=True)
    before = snapshot(network)
    stepped(network, images(seed=1))
    assert not any(name.startswith(("encoder.", "decoder.")) for name in changed(network, before))
    assert all(parameter.grad is None for parameter in network.encoder.parameters())
    assert {group["name"] for group in network.parameter_groups()} == {"transfer"}


def test_all_parts_can_learn(small_autoencoder, images):
    network = build_adapted(small_autoencoder, outputs=2).train()
    network.set_trainable(encoder=True, decoder=True, encoder_statistics="batch")
    rates = {group["name"]: group["lr"] for group in network.parameter_groups(learning_rate=1.0, encoder_learning_rate=0.5)}
    assert rates == {"transfer": 1.0, "encoder": 0.5, "decoder": 0.5}
    before = snapshot(network)
    stepped(network, images())
    assert {"encoder.conv1.weight", "encoder.bn1.running_mean", "decoder.fc.weight", "decoder.bn1.running_mean"} <= changed(
        network, before)
    # The decoder's last layer has no part in the maps.
    assert not network.decoder.lin.weight.requires_grad
    network.set_trainable()
    assert network.training and not network.decoder.training and not network.encoder.bn1.training


def test_a_network_has_its_own_copy(small_autoencoder, images):
    before = snapshot(small_autoencoder)
    network = build_adapted(small_autoencoder, outputs=2).train()
    network.set_trainable(decoder=True, encoder_statistics="batch")
    stepped(network, images())
    assert not changed(small_autoencoder, before)


@pytest.mark.parametrize("kind", ["original", "hybrid"])
def test_two_batches_in_flight_do_not_mix(kind, small_autoencoder, images):
    network = build_adapted(small_autoencoder, outputs=2, kind=kind, skips=True).train()
    names = ["encoder.conv1.weight", "transfers.0.conv.weight", "skips.3.conv3.weight", "head.weight"]
    parameters = [network.get_parameter(name) for name in names]

    def gradients(maps):
        return torch.autograd.grad(maps.square().mean(), parameters)

    alone = [gradients(network(images(seed=seed))) for seed in (1, 2)]
    first, second = network(images(seed=1)), network(images(seed=2))
    together = [gradients(first), gradients(second)]
    for expected, got in zip(alone, together):
        for name, one, other in zip(names, expected, got):
            assert torch.equal(one, other), name
    assert not torch.equal(alone[0][0], alone[1][0])


def test_the_plain_baseline(small_autoencoder, large_autoencoder, images):
    for autoencoder in (small_autoencoder, large_autoencoder):
        network = build_plain(autoencoder.encoder, outputs=4).train()
        maps = network(images(autoencoder.image_size))
        assert maps.shape == (2, 4, 128, 128)
        maps.square().mean().backward()
        assert all(parameter.grad is not None for group in network.parameter_groups() for parameter in group["params"])
        assert network.config == build_from_config(network.config).config
        assert not network.encoder.bn1.training and network.layers.training
    # 4 x 4 deconvolutions 512-256-128-64-64 with two numbers per channel of their norms, then 64 to 4 maps.
    wanted = 16 * (512 * 256 + 256 * 128 + 128 * 64 + 64 * 64 + 64 * 4) + 2 * (256 + 128 + 64 + 64)
    assert new_parameters(network) == wanted


@torch.no_grad()
def test_the_hierarchical_block_is_a_shortcut_beside_three_scales():
    """With its convolutions at zero the block is the identity; a change of one pixel reaches 1, 2 and 3 px in the three parts."""
    block = HierarchicalBlock(8, 8).eval()
    x = torch.rand(1, 8, 15, 15)
    saved = snapshot(block)
    for conv in (block.conv1, block.conv2, block.conv3):
        conv.weight.zero_()
    assert torch.equal(block(x), x)
    block.load_state_dict(saved)
    for conv in (block.conv1, block.conv2, block.conv3):
        conv.weight.abs_()
    moved = x.clone()
    moved[:, :, 7, 7] += 1
    difference = (block(moved) - block(x)).abs().amax((0, 3)).gt(0)
    reach = [[int(rows.sum()) for rows in part] for part in difference.split((4, 2, 2))]
    assert [set(part) for part in reach] == [{3}, {5}, {7}]
    wider = HierarchicalBlock(8, 16)
    # Three norms and convolutions to 8, 4 and 4 channels, and a normalised 1 x 1 shortcut.
    assert sum(parameter.numel() for parameter in wider.parameters()) == 2 * (8 + 8 + 4) + 9 * (64 + 32 + 16) + 16 + 8 * 16
    with pytest.raises(ArgumentError, match="multiple of 4"):
        HierarchicalBlock(8, 6)


def test_impossible_options_are_refused(small_autoencoder):
    for options in ({"layers": 5}, {"layers": 3}, {"kind": "none"}, {"outputs": 0}, {"outputs": True}, {"outputs": 2000}):
        with pytest.raises(ArgumentError):
            build_adapted(small_autoencoder, **{"outputs": 3, **options})
    with pytest.raises(ArgumentError, match="encoder_statistics"):
        build_adapted(small_autoencoder, outputs=3).set_trainable(encoder_statistics="moving")
    good = build_adapted(small_autoencoder, outputs=3).config
    for bad in ({**good, "network": "other"}, {**good, "more": 1}, {key: good[key] for key in good if key != "kind"}, {}):
        with pytest.raises(ArgumentError):
            build_from_config(bad)
