"""Drawn heads whose every parameter is known, as samples of self-supervised training."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from facerecon.geometry.rotations import euler_deg_to_matrix_aflw
from facerecon.mofa import CodeLayout, FaceCode, FaceDecoder
from facerecon.morphable import load_model
from facerecon.render import ambient_light, render_pncc
from facerecon.data.splits import split_of
from facerecon.training.mofa_samples import MofaSamples, SampleList

SIZE = 144


class Heads:
    """The open model, its decoder for pictures of 144 px, and faces drawn by it."""

    def __init__(self) -> None:
        self.model = load_model()
        self.layout = CodeLayout.of(self.model)
        self.decoder = FaceDecoder(self.model, self.layout, image_size=SIZE)

    def code(self, count: int, *, seed: int = 0, yaw: float = 40.0) -> FaceCode:
        """Random faces that look about, in px of the picture."""
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator)

        turn = torch.rand(count, 3, generator=generator) * 2 - 1
        rotation = euler_deg_to_matrix_aflw(*(turn * torch.tensor([10.0, yaw, 10.0])).unbind(1))
        scale = self.layout.mean_scale(SIZE) / 1.125 * torch.exp(0.05 * draw(count))
        place = (SIZE - 1) / 2 + 4 * draw(count, 2)
        translation = place - scale[:, None] * (rotation @ torch.tensor(self.layout.anchor))[:, :2]
        light = ambient_light().repeat(count, 1, 1)
        light[:, 1:4] += 0.4 * draw(count, 3, 3)
        light[:, 4:] += 0.1 * draw(count, 5, 3)
        return FaceCode(0.7 * draw(count, self.layout.identity), (0.3 * draw(count, self.layout.expression)).clamp(0, 1),
                        draw(count, self.layout.albedo) * 0.7, rotation, translation, scale, light)

    def draw(self, code: FaceCode) -> torch.Tensor:
        """(B, S, S, 3) pictures over grey."""
        with torch.no_grad():
            drawn = self.decoder(code)
        return torch.where(drawn.mask[..., None], drawn.image.clamp(0, 1), torch.full_like(drawn.image, 0.4))

    def pncc(self, code: FaceCode, size: int = SIZE) -> torch.Tensor:
        """(B, 3, size, size) codes of the drawn region."""
        projected = self.decoder.geometry(code.resized(size / SIZE)).projected
        colours = self.model.ncc[self.decoder.vertex_index]
        return render_pncc(projected, self.decoder.faces, colours, (size, size)).permute(0, 3, 1, 2)

    def landmarks(self, code: FaceCode) -> torch.Tensor:
        """(B, 68, 2) px."""
        return self.decoder.landmarks(code)

    def samples(self, count: int, *, seed: int = 0, split: str = "train", truth: bool = True, codes: bool = False,
                size: int = SIZE, name: str = "head") -> MofaSamples:
        """Faces as a source gives them."""
        code = self.code(count, seed=seed)
        images = (self.draw(code) * 255).round().to(torch.uint8).numpy()
        maps = (self.pncc(code) * 255).round().permute(0, 2, 3, 1).to(torch.uint8).numpy() if codes else [None] * count
        points = self.landmarks(code).numpy()
        people = [person for person in (f"person {i}" for i in range(2000)) if split_of(person) == split]
        kept = SampleList(size)
        for i in range(count):
            known = {name: getattr(code, name)[i].numpy() for name in truth_names()} if truth else None
            kept.add(f"{name}-{seed}-{i}.png", people[i], images[i], points[i], code=maps[i], truth=known)
        return kept.samples()


def truth_names() -> tuple[str, ...]:
    """Names of the parameters."""
    return tuple(field.name for field in dataclasses.fields(FaceCode) if field.name not in ("focal", "principal", "anchor"))


def tensors(samples: MofaSamples) -> dict[str, torch.Tensor]:
    """The true parameters of samples."""
    return {name: torch.from_numpy(value) for name, value in samples.truth.items()}


def photo_folder(folder: Path, heads: Heads, count: int, *, seed: int = 0) -> Path:
    """Drawn heads as PNG files without any label."""
    from PIL import Image

    folder.mkdir(parents=True)
    for i, image in enumerate((heads.draw(heads.code(count, seed=seed)) * 255).round().to(torch.uint8).numpy()):
        Image.fromarray(np.ascontiguousarray(image)).save(folder / f"photo.{i}.png")
    return folder


def write_synthetic(folder, heads, people, *, topology=None, maps=True) -> None:
    """A synthetic archive of drawn heads, one of each person."""
    from facerecon.synthesis import SyntheticFace, write_block, write_index
    from facerecon.synthesis.archive import describe_model

    code = heads.code(len(people), seed=9)
    images, points = (heads.draw(code) * 255).round().to(torch.uint8).numpy(), heads.landmarks(code).numpy().astype(np.float32)
    codes = (heads.pncc(code, 128) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    visible = np.ones(68, bool)
    visible[:8] = False
    faces = [SyntheticFace(f"synthetic_0_{i:06d}.jpg", person, images[i], code.parameters(i), points[i], visible,
                           np.zeros((478, 2), np.float32), np.ones(478, bool), {"pncc": codes[i]} if maps else {})
             for i, person in enumerate(people)]
    model = describe_model(heads.model) if topology is None else {"name": "another", "topology_sha256": topology}
    folder.mkdir(parents=True)
    write_block(folder, 0, faces, about={"model": model})
    write_index(folder)
