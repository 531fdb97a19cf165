"""The fitted head as a surface that carries its own photo."""

from __future__ import annotations

import dataclasses
import weakref

import numpy as np
import torch

from facerecon.fitting import bake_texture
from facerecon.fitting.texture_atlas import smoothstep
from facerecon.geometry import ScaledOrthographicPose, vertex_normals
from facerecon.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix
from facerecon.morphable import MorphableModel
from facerecon.render import Fragments, antialias, interpolate, rasterize, sample_texture
from facerecon.synthesis.profile_colours import painted, spread_colours, vertex_colours
from facerecon.synthesis.profile_hair import find_hair, unseen_hair
from facerecon.synthesis.profile_mouth import lidded_mesh
from facerecon.synthesis.profile_window import PIVOT_MM, ProfileWindow

TEXTURE_SIZE = 512
# A vertex this far behind what its pixel shows is hidden.
HIDDEN_MM = 2.5
# The photo is used where it saw the surface at these cosines, and this far inside the outline (from, fully): the fit is not
# exact, and beside the outline lies the background. A head that hardly turns (degrees: until, from) shows the photo as it is.
FACING = (0.12, 0.30)
# Before the neck a slanted surface is safe: it is the jaw's or the nose's underside, with the light that falls there.
FACING_WITHIN = (0.02, 0.14)
WITHIN_MM = (6.0, 14.0)
CLEARANCE_MM = (2.0, 6.0)
STILL_DEG = (4.0, 16.0)
# An ear is shown from the photo when its side of the head looks at the camera by these cosines.
EAR_FACING = (0.2, 0.45)
# Mean difference of a pixel's channels below which a photo is black and white.
GREY_SPREAD = 0.012
# Share of the turn that the lower end of the neck takes; where it meets the head it takes all of it.
COLLAR_TWIST = 0.25


@dataclasses.dataclass(frozen=True, eq=False)
class HeadSurface:
    """A head and its neck, textured by the photo that they were fitted to.

    Attributes:
        model: gives triangles and texture coordinates.
        window: the photo, and the pose in it.
        vertices: (V, 3) mm.
        twist: (V,) float32 in [0, 1], share of the head's turn that a vertex takes: 1, less down the neck; shoulders stay.
        place: (V, 3) px, the vertices in the window, with depth.
        fragments: of the window.
        seen: (V,) float32 in [0, 1], 0 where another part of the head hides the vertex or the photo ends.
        trusted: (V,) float32 in [0, 1], how far the photo's colour of a vertex can be shown from another side.
        attributes: (V, 10) float32, what is drawn of each vertex: coverage (the lower end of the neck fades into what surrounds
            it); how much of what is hidden comes from the texture, and of that from other hair; place in the photo and
            place of the other hair, px; colour spread over the neck.
        texture: (T, T, 3) float32, colours of skin and ears where the photo does not show them: its mirrored half, then the
            model's albedo.
    """

    model: MorphableModel
    window: ProfileWindow
    vertices: torch.Tensor
    twist: torch.Tensor
    place: np.ndarray
    fragments: Fragments
    seen: np.ndarray
    trusted: np.ndarray
    attributes: torch.Tensor
    texture: torch.Tensor

    def draw(self, pose: ScaledOrthographicPose, size: int, *, factor: int = 2) -> tuple[np.ndarray, np.ndarray]:
        """The head from another side: (size, size, 3) float32 colours and (size, size) coverage in [0, 1].

        Args:
            pose: of the head in px of the picture; it may turn, and its scale and place may differ from the window's.
            size: the picture's side, px.
            factor: supersampling.
        """
        import cv2

        mesh = lidded_mesh(self.model)
        with torch.no_grad():
            # Back sides belong to the open neck, into which nobody should look.
            fragments = rasterize(self._placed(pose.scaled_image(factor)), mesh.faces, (factor * size,) * 2, cull_back=True)
            weight = torch.from_numpy(self.photo_weight(pose.rotation))
            attributes = mesh.extended(torch.cat([weight[:, None], self.attributes], 1))
            # Between the lips there is nothing but what the photo shows.
            attributes[len(self.vertices):, 0] = 1
            drawn = interpolate(fragments, attributes, mesh.faces)[0].numpy()
            share, solid, paint, hairy, place, hair_place, spread = np.split(drawn, (1, 2, 3, 4, 6, 8), axis=-1)
            photo, hair = (cv2.remap(self.window.image, np.ascontiguousarray(where), None, cv2.INTER_LINEAR,
                                     borderMode=cv2.BORDER_REPLICATE) for where in (place, hair_place))
            baked = sample_texture(fragments, self.model.uv, mesh.uv_faces, self.texture)[0].numpy()
            hidden = spread + paint * (baked + hairy * (hair - baked) - spread)
            layers = np.concatenate([hidden + share * (photo - hidden), solid], axis=-1)
            layers *= fragments.mask[0, ..., None].numpy()
            image, covered = antialias(torch.from_numpy(layers)[None], fragments.mask, factor)
        return image[0, ..., :3].numpy(), (covered[0] * image[0, ..., 3]).numpy()

    def photo_weight(self, rotation: torch.Tensor) -> np.ndarray:
        """(V,) float32, share of the photo in each vertex's colour when the head is at `rotation` (3, 3)."""
        return np.maximum(self.trusted, self.seen * (1 - smoothstep(self.turned_by(rotation), *STILL_DEG)))

    def turned_by(self, rotation: torch.Tensor) -> np.ndarray:
        """Degrees between `rotation` (3, 3) and the head's in the photo."""
        turn = rotation.double() @ self.window.parameters.pose.rotation.double().T
        return np.degrees(np.linalg.norm(matrix_to_rotvec(turn).numpy()))

    def _placed(self, pose: ScaledOrthographicPose) -> torch.Tensor:
        """(V + R + 1, 3) px and depth: the head at `pose` with the mouth's lid; its neck between there and where it was."""
        old = self.window.parameters.pose.rotation
        projected = pose.project(lidded_mesh(self.model).shape(self.vertices))
        index = torch.nonzero(self.twist < 1)[:, 0]
        if len(index):
            rotvec = matrix_to_rotvec((pose.rotation.double() @ old.double().T))
            part = rotvec_to_matrix(self.twist[index, None].double() * rotvec) @ old.double()
            about = torch.tensor(PIVOT_MM, dtype=torch.float64)
            fixed = pose.project(torch.tensor([PIVOT_MM]))[0].double()
            placed = (part @ (self.vertices[index].double() - about)[..., None])[..., 0]
            projected[index] = (pose.scale.double() * placed + fixed).float()
        return projected


def head_surface(model: MorphableModel, window: ProfileWindow) -> HeadSurface:
    """The surface of the head in a window."""
    import cv2

    parameters, pose = window.parameters, window.parameters.pose
    with torch.no_grad():
        bald = model.vertices(parameters.identity, parameters.expression)
        place = pose.project(bald)
        fragments = rasterize(place, model.faces, (window.size,) * 2)
        hair = find_hair(model, window, place.numpy(), *(part_pixels(model, fragments, name) for name in ("", "neck", "ears")))
        vertices = bald + torch.from_numpy(hair.thickness)[:, None] * vertex_normals(bald, model.faces)
        place = pose.project(vertices)
        fragments = rasterize(place, model.faces, (window.size,) * 2)
        facing = pose.light_frame(vertex_normals(vertices, model.faces))[:, 2].numpy()
        pixels = (window.image * 255 + 0.5).clip(0, 255).astype(np.uint8)
        texture = bake_texture(model, parameters, pixels, size=TEXTURE_SIZE)[0]
        if colourless(window):
            texture = np.repeat(cv2.cvtColor(texture, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    twist = neck_twist(model)
    seen, clearance, within, person = _seen(model, place.numpy(), fragments, window, hair.person)
    # The neck's lower end is no outline: the photo goes on there.
    slant = smoothstep(facing, *FACING)
    slant = slant + smoothstep(within, *WITHIN_MM) * (smoothstep(facing, *FACING_WITHIN) - slant)
    trusted = seen * person * slant * np.where(twist < 1, 1.0, smoothstep(clearance, *CLEARANCE_MM))
    trusted = (trusted * _ears_seen(model, pose)).astype(np.float32)
    colours = cv2.remap(window.image, place[:, 0].numpy(), place[:, 1].numpy(), cv2.INTER_LINEAR,
                        borderMode=cv2.BORDER_REPLICATE).reshape(-1, 3)
    on_scalp = part_pixels(model, fragments, "scalp")
    elsewhere, hairy = unseen_hair(model, place.numpy(), on_scalp & hair.person, fragments.mask[0].numpy() & ~on_scalp,
                                   window.px_per_mm)
    attributes = np.column_stack([smoothstep(twist.numpy(), COLLAR_TWIST, COLLAR_TWIST + 0.15), painted(model).numpy(), hairy,
                                  place[:, :2].numpy(), elsewhere, _spread(model, colours, trusted, texture)])
    return HeadSurface(model, window, vertices, twist, place.numpy(), fragments, seen, trusted,
                       torch.from_numpy(attributes.astype(np.float32)), torch.from_numpy(texture).float() / 255)


def colourless(window: ProfileWindow) -> bool:
    """Whether the photo is black and white; what completes it should be, too."""
    inside = window.image[window.inside]
    return bool(len(inside)) and float((inside.max(axis=1) - inside.min(axis=1)).mean()) < GREY_SPREAD


def part_pixels(model: MorphableModel, fragments: Fragments, name: str) -> np.ndarray:
    """(H, W) bool: pixels of the first picture that show one of the model's masks, none without it; "" for the whole mesh."""
    index = fragments.face_index[0]
    if not name:
        return (index >= 0).numpy()
    if name not in model.masks:
        return np.zeros(index.shape, bool)
    return ((index >= 0) & model.masks[name].cpu()[model.faces.cpu()].all(-1)[index.clamp_min(0)]).numpy()


def _spread(model: MorphableModel, colours: np.ndarray, trusted: np.ndarray, texture: np.ndarray) -> np.ndarray:
    """(V, 3) float32: the photo's colours, continued over the neck; the hair above it ends in the colours of the texture."""
    scalp = model.masks.get("scalp", torch.zeros(len(model.mean), dtype=torch.bool)).cpu().numpy()
    hair = vertex_colours(model, texture)
    known = np.where(scalp, 1.0, trusted)
    colours = np.where(scalp[:, None], hair + trusted[:, None] * (colours - hair), colours)
    return spread_colours(model, colours, known, scalp | (painted(model).numpy() < 1))


# A pure cache of what depends on the model alone.
_TWISTS: weakref.WeakKeyDictionary[MorphableModel, torch.Tensor] = weakref.WeakKeyDictionary()


def neck_twist(model: MorphableModel) -> torch.Tensor:
    """(V,) float32: 1 on the head, down the model's neck falling to `COLLAR_TWIST` at its open end; cached."""
    if model not in _TWISTS:
        _TWISTS[model] = _twist(model)
    return _TWISTS[model]


def _twist(model: MorphableModel) -> torch.Tensor:
    from scipy.spatial import cKDTree

    twist = torch.ones(len(model.mean))
    neck = model.masks.get("neck", torch.zeros(len(model.mean), dtype=torch.bool)).cpu()
    end = neck & boundary_vertices(model.faces.cpu(), len(model.mean))
    if not end.any() or neck.all():
        return twist
    points = model.mean.detach().cpu().numpy()
    inside = neck.numpy()
    from_head, from_end = (cKDTree(points[there]).query(points[inside])[0] for there in (~inside, end.numpy()))
    twist[neck] = torch.from_numpy(COLLAR_TWIST + (1 - COLLAR_TWIST) * from_end / (from_head + from_end)).float()
    return twist


def _ears_seen(model: MorphableModel, pose: ScaledOrthographicPose) -> np.ndarray:
    """(V,) how far the photo's ears can be trusted, 1 elsewhere. From the front an ear is an outline, seldom a precise one."""
    share = np.ones(len(model.mean), np.float32)
    ears = model.masks.get("ears")
    if ears is not None:
        side = np.sign(model.mean[:, 0].detach().cpu().numpy())
        share[ears.cpu().numpy()] = smoothstep(-side * float(pose.rotation[2, 0]), *EAR_FACING)[ears.cpu().numpy()]
    return share


def boundary_vertices(faces: torch.Tensor, count: int) -> torch.Tensor:
    """(count,) bool: vertices on an edge that only one triangle has."""
    pairs = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(dim=1).values
    edges, times = pairs.unique(dim=0, return_counts=True)
    found = torch.zeros(count, dtype=torch.bool)
    found[edges[times == 1].reshape(-1)] = True
    return found


def _seen(model: MorphableModel, place: np.ndarray, fragments: Fragments, window: ProfileWindow,
          person: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(V,) each: whether the photo shows the vertex; mm inside the head's outline; mm inside that of a head without ears, which
    stand beside the cheek's own outline; and whether the vertex lies on the person."""
    import cv2

    mask = fragments.mask[0].numpy()
    depth = np.where(mask, fragments.depth[0].numpy(), -np.inf).astype(np.float32)
    # The farthest of the pixels around: at a silhouette a vertex must not be hidden by its own neighbours.
    depth = cv2.dilate(depth, np.ones((3, 3), np.uint8))
    column, row = np.clip(np.rint(place[:, :2]).astype(int), 0, window.size - 1).T
    # The window's image goes on where the photo ends, but that is made up; the mirrored half of the face is better.
    inside = cv2.erode(window.inside.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0
    shown = place[:, 2] <= depth[row, column] + HIDDEN_MM * window.px_per_mm
    clearance, within = (cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 5)[row, column] / window.px_per_mm
                         for part in (mask, mask & ~part_pixels(model, fragments, "ears")))
    return (shown & inside[row, column]).astype(np.float32), clearance, within, person[row, column]
