"""The encoder: a ResNet that reads a code vector from a face crop, and from its PNCC where that is given."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from facerecon.checks import check_choice, check_shape
from facerecon.errors import ArgumentError, ModelError
from facerecon.mofa.layout import CodeLayout

DEPTHS = (18, 34, 50)
WIDTHS = (1.0, 0.75, 0.5)
CHANNELS = (3, 6)
IMAGE_SIZES = (128, 224)
# Statistics of ImageNet's photos, which torchvision's weights were trained with.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Spread of the last layer's weights: small, so that training starts at about the mean face, and not zero, so that the layers
# below learn from the first step.
_LAST_LAYER = 1e-3


class FaceEncoder(torch.nn.Module):
    """A ResNet (He et al. 2016, torchvision's) with one linear layer that gives the numbers of a code layout.

    Args:
        depth: 18, 34 or 50. The thesis has 50.
        channels: 3 for RGB (MoFA), 6 for RGB and PNCC (the thesis, section 4.1.3).
        image_size: side of the crops, px, 128 or 224.
        layout: what the numbers are.
        width: share of the channels in the four stages, 1, 0.75 or 0.5: at 0.5 a ResNet-18 has 2.8 instead of 11.3 million
            weights, and a training step takes 0.4 of the time.

    The filters of the first layer that look at the PNCC start at zero: a fresh six-channel encoder equals the three-channel one
    whose other weights it has, and learns what the PNCC is good for.

    Raises:
        ArgumentError: for another depth, number of channels, size or width, or a width below 1 at depth 50.
    """

    def __init__(self, *, layout: CodeLayout, depth: int = 18, channels: int = 3, image_size: int = 128,
                 width: float = 1.0) -> None:
        super().__init__()
        from facerecon.mofa.trunk import make_trunk

        self.depth = check_choice("depth", depth, DEPTHS)
        self.channels = check_choice("channels", channels, CHANNELS)
        self.image_size = check_choice("image_size", image_size, IMAGE_SIZES)
        self.width = check_choice("width", width, WIDTHS)
        if width != 1 and depth == 50:
            raise ArgumentError("width: wanted 1 at depth 50, whose blocks have other channels; or depth 18 or 34")
        self.layout = layout
        trunk = make_trunk(depth, width)
        first, last = trunk.conv1, torch.nn.Linear(trunk.fc.in_features, layout.size)
        with torch.no_grad():
            # Drawn before anything that depends on the channels: one seed gives encoders with and without PNCC the same start.
            last.weight.normal_(std=_LAST_LAYER)
            last.bias.zero_()
        trunk.conv1 = torch.nn.Conv2d(channels, first.out_channels, first.kernel_size, first.stride, first.padding, bias=False)
        with torch.no_grad():
            trunk.conv1.weight.zero_()
            trunk.conv1.weight[:, :3] = first.weight
        trunk.fc = last
        self.trunk = trunk
        padding = (0.0,) * (channels - 3), (1.0,) * (channels - 3)
        for name, values in (("mean", _MEAN + padding[0]), ("deviation", _DEVIATION + padding[1])):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    @property
    def uses_pncc(self) -> bool:
        """True for six channels."""
        return self.channels == 6

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, S, S) in [0, 1], RGB and then the PNCC (background 0), to raw numbers (B, layout.size).

        `read_code` gives them their meaning.

        Raises:
            ArgumentError: `shape_invalid`.
        """
        check_shape("images", images, (None, self.channels, self.image_size, self.image_size))
        return self.trunk((images - self.mean) / self.deviation)


def encoder_input(images: Tensor, pncc: Tensor | None = None) -> Tensor:
    """What an encoder is given, from pictures as files hold them.

    Args:
        images: (B, S, S, 3), uint8, or float in [0, 1].
        pncc: (B, s, s, 3), uint8 or float in [0, 1]; brought to S px by the nearest pixel, since a mean of two places of the
            face, or of face and background, would be a third place.

    Returns:
        (B, 3, S, S), or (B, 6, S, S) with a PNCC, float in [0, 1].
    """
    check_shape("images", images, (None, None, None, 3))
    parts = [_unit_range(images)]
    if pncc is not None:
        check_shape("pncc", pncc, (images.shape[0], None, None, 3))
        maps = _unit_range(pncc)
        if maps.shape[2:] != parts[0].shape[2:]:
            maps = torch.nn.functional.interpolate(maps, size=parts[0].shape[2:], mode="nearest-exact")
        parts.append(maps.to(parts[0].dtype))
    return torch.cat(parts, 1)


def load_imagenet(encoder: FaceEncoder, weights: str | os.PathLike[str] | Mapping[str, Tensor]) -> FaceEncoder:
    """Give an encoder the trunk of torchvision's ResNet of the same depth; PNCC filters are zero again, the last layer stays.

    Args:
        weights: the state dict of `torchvision.models.resnet18(weights="DEFAULT")` or of the depth in question, or a
            safetensors file of it (`safetensors.torch.save_file(state, path)`).

    Returns:
        The encoder itself.

    Raises:
        ModelError: `model_missing`, `unsafe_format` (a `.pth` is a pickle and is never opened), `model_corrupt`;
            `model_invalid` for the weights of another network.
    """
    state = _read(Path(weights)) if isinstance(weights, (str, os.PathLike)) else weights
    wanted = {name: value for name, value in encoder.trunk.state_dict().items() if not name.startswith("fc.")}
    wanted["conv1.weight"] = wanted["conv1.weight"][:, :3]
    given = {name: value for name, value in state.items() if not name.startswith("fc.")}
    wrong = sorted(set(wanted) ^ set(given)) + [name for name, value in wanted.items()
                                                if name in given and given[name].shape != value.shape]
    if wrong:
        raise ModelError(f"wanted the state of torchvision's resnet{encoder.depth}; {len(wrong)} tensors differ, such as "
                         f"{wrong[0]}")
    if not all(bool(value.isfinite().all()) for value in given.values()):
        raise ModelError("the weights have NaN or infinite numbers", code="model_corrupt")
    with torch.no_grad():
        first = encoder.trunk.conv1.weight
        filters = torch.zeros_like(first)
        filters[:, :3] = given["conv1.weight"]
        encoder.trunk.load_state_dict({**given, "conv1.weight": filters}, strict=False)
    return encoder


def _read(path: Path) -> dict[str, Tensor]:
    import safetensors
    import safetensors.torch

    from facerecon.tensorfile import check_container

    check_container(path, wanted="a safetensors file of torchvision's weights",
                    mend="save the state dict with safetensors.torch.save_file")
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise ModelError(f"{path}: the tensors cannot be read ({error}); copy the file again", code="model_corrupt") from error


def _unit_range(pictures: Tensor) -> Tensor:
    planes = pictures.permute(0, 3, 1, 2)
    return planes if planes.is_floating_point() else planes.float() / 255
