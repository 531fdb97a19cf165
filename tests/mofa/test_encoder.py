"""The encoder: shapes, the PNCC channels, torchvision's weights."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch
import torchvision

from facerecon.errors import ArgumentError, ModelError
from facerecon.mofa import CodeLayout, FaceEncoder, encoder_input, load_imagenet

LAYOUT = CodeLayout(4, 3, 2)


@pytest.fixture(scope="module")
def trained() -> dict[str, torch.Tensor]:
    """The state of a ResNet-18 whose numbers are not its fresh ones."""
    torch.manual_seed(7)
    network = torchvision.models.resnet18(weights=None)
    return {name: value + 0.01 * torch.rand_like(value) if value.is_floating_point() else value
            for name, value in network.state_dict().items()}


def test_a_fresh_encoder_starts_near_the_zero_code():
    encoder = FaceEncoder(layout=LAYOUT).eval()
    raw = encoder(torch.rand(2, 3, 128, 128))
    assert raw.shape == (2, LAYOUT.size)
    assert 0 < raw.abs().max() < 0.2
    encoder(torch.rand(2, 3, 128, 128)).square().sum().backward()
    # The last layer is not zero, so everything below it learns from the first step.
    assert all(part.grad.abs().max() > 0 for part in encoder.parameters())


def test_pncc_filters_start_at_zero_and_learn(trained):
    three, six = (load_imagenet(FaceEncoder(layout=LAYOUT, channels=channels), trained).eval() for channels in (3, 6))
    six.trunk.fc.load_state_dict(three.trunk.fc.state_dict())
    images, pncc = torch.rand(2, 3, 128, 128), torch.rand(2, 3, 128, 128)
    raw = six(torch.cat([images, pncc], 1))
    torch.testing.assert_close(raw, three(images))
    raw.square().sum().backward()
    gradient = six.trunk.conv1.weight.grad
    assert gradient[:, 3:].abs().max() > 0
    with torch.no_grad():
        six.trunk.conv1.weight[:, 3:] += 0.01
    assert not torch.allclose(six(torch.cat([images, pncc], 1)), three(images))


def test_fresh_encoders_of_three_and_six_channels_agree_too():
    six = FaceEncoder(layout=LAYOUT, channels=6).eval()
    assert not six.trunk.conv1.weight[:, 3:].any() and six.trunk.conv1.weight[:, :3].any()
    image = torch.rand(1, 3, 128, 128)
    first, second = (six(torch.cat([image, pncc], 1)) for pncc in (torch.zeros(1, 3, 128, 128), torch.rand(1, 3, 128, 128)))
    torch.testing.assert_close(first, second)


def test_one_seed_starts_encoders_with_and_without_pncc_alike():
    torch.manual_seed(4)
    three = FaceEncoder(layout=LAYOUT).state_dict()
    torch.manual_seed(4)
    six = FaceEncoder(layout=LAYOUT, channels=6).state_dict()
    six["trunk.conv1.weight"] = six["trunk.conv1.weight"][:, :3]
    assert all(torch.equal(six[name], value) for name, value in three.items())


def test_equals_torchvisions_network_on_normalised_images(trained):
    encoder = load_imagenet(FaceEncoder(layout=LAYOUT), trained).eval()
    network = torchvision.models.resnet18(weights=None).eval()
    network.load_state_dict(trained)
    network.fc = encoder.trunk.fc
    images = torch.rand(2, 3, 128, 128)
    normalised = torchvision.transforms.functional.normalize(images, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(encoder(images), network(normalised))


def test_weights_come_from_a_file_and_never_from_a_pickle(tmp_path, trained):
    safetensors.torch.save_file(trained, tmp_path / "resnet18.safetensors")
    encoder = load_imagenet(FaceEncoder(layout=LAYOUT), tmp_path / "resnet18.safetensors")
    assert torch.equal(encoder.trunk.layer4[1].conv2.weight, trained["layer4.1.conv2.weight"])
    torch.save(trained, tmp_path / "resnet18.pth")
    with pytest.raises(ModelError) as caught:
        load_imagenet(encoder, tmp_path / "resnet18.pth")
    assert caught.value.code == "unsafe_format"
    with pytest.raises(ModelError) as caught:
        load_imagenet(encoder, tmp_path / "nothing.safetensors")
    assert caught.value.code == "model_missing"
    content = (tmp_path / "resnet18.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[:len(content) // 2])
    with pytest.raises(ModelError) as caught:
        load_imagenet(encoder, tmp_path / "cut.safetensors")
    assert caught.value.code == "model_corrupt"


def test_weights_of_another_network_are_refused_and_change_nothing(trained):
    encoder = FaceEncoder(layout=LAYOUT)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    missing = {name: value for name, value in trained.items() if name != "layer1.0.conv1.weight"}
    shaped = {**trained, "conv1.weight": trained["conv1.weight"][:, :2]}
    broken = {**trained, "bn1.bias": trained["bn1.bias"] * float("nan")}
    for wrong in (missing, shaped, broken, {**trained, "layer5": torch.zeros(1)}):
        with pytest.raises(ModelError):
            load_imagenet(encoder, wrong)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_input_is_rgb_then_the_nearest_pixel_of_the_code():
    images = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
    pncc = torch.rand(2, 4, 4, 3)
    given = encoder_input(images, pncc)
    assert given.shape == (2, 6, 8, 8)
    torch.testing.assert_close(given[:, :3], images.permute(0, 3, 1, 2) / 255)
    # Each pixel of the smaller map becomes four, none of them a mean.
    torch.testing.assert_close(given[:, 3:], pncc.permute(0, 3, 1, 2).repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert encoder_input(images).shape == (2, 3, 8, 8)


def test_what_is_not_an_encoder_is_refused():
    for wrong in ({"depth": 101}, {"channels": 4}, {"image_size": 100}):
        with pytest.raises(ArgumentError):
            FaceEncoder(layout=LAYOUT, **wrong)
    encoder = FaceEncoder(layout=LAYOUT, channels=6)
    with pytest.raises(ArgumentError) as caught:
        encoder(torch.zeros(1, 3, 128, 128))
    assert caught.value.code == "shape_invalid"


@pytest.mark.parametrize(("depth", "width"), [(18, 0.5), (34, 0.75)])
def test_a_slim_encoder_has_a_share_of_the_channels(depth, width):
    slim, whole = FaceEncoder(layout=LAYOUT, depth=depth, width=width), FaceEncoder(layout=LAYOUT, depth=depth)
    for number, channels in enumerate((64, 128, 256, 512), 1):
        block = getattr(slim.trunk, f"layer{number}")
        assert len(block) == len(getattr(whole.trunk, f"layer{number}"))
        assert all(part.conv2.out_channels == width * channels for part in block)
    assert slim.trunk.fc.in_features == 512 * width and slim(torch.rand(2, 3, 128, 128)).shape == (2, LAYOUT.size)
    with pytest.raises(ModelError, match="differ"):
        load_imagenet(slim, torchvision.models.resnet18(weights=None).state_dict())


def test_the_thesis_depth_has_no_slim_form():
    with pytest.raises(ArgumentError, match="depth 50"):
        FaceEncoder(layout=LAYOUT, depth=50, width=0.5)
    with pytest.raises(ArgumentError, match="width"):
        FaceEncoder(layout=LAYOUT, width=0.4)
