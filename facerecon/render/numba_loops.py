"""The compiled loops of the `numba` back end and of `interpolate`.

Arithmetic is float64 whatever the dtype of the arrays. Edge functions are evaluated at each pixel from the corners relative
to it: ax by - ay bx changes its sign, bit for bit, when a and b change places, so the two faces at an edge never disagree
about a pixel. (This rests on products and differences being rounded one by one: no `fastmath`, no fused multiply-add.)
"""

from __future__ import annotations

import math

import numpy as np

from facerecon.geometry.compiled import compiled


@compiled
def owns_edge(ax, ay, bx, by, orientation):
    """Whether a pixel exactly on edge a -> b belongs to the face: true for left edges and for top edges."""
    dy = (by - ay) * orientation
    return dy < 0 or (dy == 0 and (bx - ax) * orientation > 0)


@compiled
def owns_tie(e0, e1, e2, x0, y0, x1, y1, x2, y2):
    """Orientation (+1 or -1) of the face if it owns a pixel with at least one edge function of zero, else 0."""
    orientation = 0
    if e0 >= 0 and e1 >= 0 and e2 >= 0 and (e0 > 0 or e1 > 0 or e2 > 0):
        orientation = 1
    elif e0 <= 0 and e1 <= 0 and e2 <= 0 and (e0 < 0 or e1 < 0 or e2 < 0):
        orientation = -1
    if orientation == 0:
        return 0
    if e0 == 0 and not owns_edge(x1, y1, x2, y2, orientation):
        return 0
    if e1 == 0 and not owns_edge(x2, y2, x0, y0, orientation):
        return 0
    if e2 == 0 and not owns_edge(x0, y0, x1, y1, orientation):
        return 0
    return orientation


@compiled
def first_pixels(vertices, width, top, bottom, perspective, limits):
    """For each vertex the first pixel at or after it, column in the low and row in the high half; -1 if it cannot be drawn.

    Columns are cut to [0, width], rows to [top, bottom]. A face whose vertices share their column or their row covers no
    pixel centre of the window: many faces of a dense mesh go by this test alone. `limits` are the largest coordinate and the
    smallest depth (arguments, since the compiler's cache would not notice a changed constant of another file).
    """
    codes = np.empty(vertices.shape[0], np.int32)
    for v in range(vertices.shape[0]):
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        good = abs(x) <= limits[0] and abs(y) <= limits[0] and abs(z) <= limits[0]
        if perspective and z < limits[1]:
            good = False
        if good:
            column = np.int32(math.ceil(min(max(x, 0.0), width)))
            row = np.int32(math.ceil(min(max(y, top), bottom)))
            codes[v] = column | (row << 16)
        else:
            codes[v] = -1
    return codes


@compiled
def touched_window(codes):
    """(first row, end row, first column, end column) that the drawable vertices span; empty when there are none."""
    left, right, top, bottom = 0x7FFF, 0, 0x7FFF, 0
    for v in range(codes.shape[0]):
        code = codes[v]
        if code >= 0:
            left, right = min(left, code & 0xFFFF), max(right, code & 0xFFFF)
            top, bottom = min(top, code >> 16), max(bottom, code >> 16)
    return top, max(top, bottom), left, max(left, right)


@compiled
def draw_rows(vertices, faces, top, bottom, perspective, cull_back, limits, face_index, barycentric, depth):
    """Draw one mesh into rows [top, bottom) of the outputs; False if a face names a vertex that is not there.

    The outputs come filled with background; only the window around the mesh is touched, so a small face in a large photo
    costs little.
    """
    width = face_index.shape[1]
    count = np.uint64(vertices.shape[0])
    codes = first_pixels(vertices, width, top, bottom, perspective, limits)
    top, bottom, west, east = touched_window(codes)
    nearest = np.full((bottom - top, east - west), np.inf)
    winner = np.full((bottom - top, east - west), np.int32(-1))
    inside = True
    for f in range(faces.shape[0]):
        i, j, k = np.uint64(faces[f, 0]), np.uint64(faces[f, 1]), np.uint64(faces[f, 2])
        if i >= count or j >= count or k >= count:
            inside = False
            continue
        ci, cj, ck = codes[i], codes[j], codes[k]
        differ = (ci ^ cj) | (ci ^ ck)
        if (differ & 0xFFFF) == 0 or (differ >> 16) == 0 or (ci | cj | ck) < 0:
            continue
        x0, y0, z0 = np.float64(vertices[i, 0]), np.float64(vertices[i, 1]), np.float64(vertices[i, 2])
        x1, y1, z1 = np.float64(vertices[j, 0]), np.float64(vertices[j, 1]), np.float64(vertices[j, 2])
        x2, y2, z2 = np.float64(vertices[k, 0]), np.float64(vertices[k, 1]), np.float64(vertices[k, 2])
        lowest = min(z0, min(z1, z2))
        left = min(ci & 0xFFFF, min(cj & 0xFFFF, ck & 0xFFFF))
        right = max(ci & 0xFFFF, max(cj & 0xFFFF, ck & 0xFFFF))
        first = min(ci >> 16, min(cj >> 16, ck >> 16))
        last = max(ci >> 16, max(cj >> 16, ck >> 16))
        for row in range(first, last):
            ay, by, cy = y0 - row, y1 - row, y2 - row
            for column in range(left, right):
                if lowest >= nearest[row - top, column - west]:
                    continue
                ax, bx, cx = x0 - column, x1 - column, x2 - column
                e0, e1, e2 = bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx
                low, high = min(e0, min(e1, e2)), max(e0, max(e1, e2))
                if low > 0:
                    orientation = 1
                elif high < 0:
                    orientation = -1
                elif low < 0 and high > 0:
                    continue
                else:
                    orientation = owns_tie(e0, e1, e2, x0, y0, x1, y1, x2, y2)
                if orientation == 0 or (cull_back and orientation > 0):
                    continue
                if perspective:
                    z = (e0 + e1 + e2) / (e0 / z0 + e1 / z1 + e2 / z2)
                else:
                    z = (e0 * z0 + e1 * z1 + e2 * z2) / (e0 + e1 + e2)
                if z < nearest[row - top, column - west]:
                    nearest[row - top, column - west] = z
                    winner[row - top, column - west] = f
    for row in range(top, bottom):
        for column in range(west, east):
            f = winner[row - top, column - west]
            if f < 0:
                continue
            face_index[row, column] = f
            i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
            ax, ay = np.float64(vertices[i, 0]) - column, np.float64(vertices[i, 1]) - row
            bx, by = np.float64(vertices[j, 0]) - column, np.float64(vertices[j, 1]) - row
            cx, cy = np.float64(vertices[k, 0]) - column, np.float64(vertices[k, 1]) - row
            e0, e1, e2 = bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx
            if perspective:
                e0, e1, e2 = e0 / vertices[i, 2], e1 / vertices[j, 2], e2 / vertices[k, 2]
            scale = 1.0 / (e0 + e1 + e2)
            barycentric[row, column, 0] = e0 * scale
            barycentric[row, column, 1] = e1 * scale
            barycentric[row, column, 2] = e2 * scale
            depth[row, column] = nearest[row - top, column - west]
    return inside


@compiled
def vertex_gradient(vertices, faces, face_index, barycentric, grad_barycentric, grad_depth, perspective, out):
    """Add dL/d(vertices) of one image to `out` (V, 3).

    On the screen the pixel stays put while the corners move: sum_k (dw_k v_k + w_k dv_k) = 0 gives
    dw_i = -w_k grad(w_i) . dv_k. Under perspective b_i = (w_i / z_i) Z with Z = 1 / sum_j w_j / z_j.
    """
    for row in range(face_index.shape[0]):
        for column in range(face_index.shape[1]):
            f = face_index[row, column]
            if f < 0:
                continue
            i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
            x0, y0, z0 = np.float64(vertices[i, 0]), np.float64(vertices[i, 1]), np.float64(vertices[i, 2])
            x1, y1, z1 = np.float64(vertices[j, 0]), np.float64(vertices[j, 1]), np.float64(vertices[j, 2])
            x2, y2, z2 = np.float64(vertices[k, 0]), np.float64(vertices[k, 1]), np.float64(vertices[k, 2])
            b0, b1, b2 = (np.float64(barycentric[row, column, 0]), np.float64(barycentric[row, column, 1]),
                          np.float64(barycentric[row, column, 2]))
            g0, g1, g2 = (np.float64(grad_barycentric[row, column, 0]), np.float64(grad_barycentric[row, column, 1]),
                          np.float64(grad_barycentric[row, column, 2]))
            gz = np.float64(grad_depth[row, column])
            if perspective:
                z = b0 * z0 + b1 * z1 + b2 * z2
                w0, w1, w2 = b0 * z0 / z, b1 * z1 / z, b2 * z2 / z
                # Through u_i = w_i / z_i: dL/du_i = (g_i - sum_j g_j b_j) Z - gz Z^2.
                mean = g0 * b0 + g1 * b1 + g2 * b2
                u0, u1, u2 = (g0 - mean) * z - gz * z * z, (g1 - mean) * z - gz * z * z, (g2 - mean) * z - gz * z * z
                h0, h1, h2 = -u0 * w0 / (z0 * z0), -u1 * w1 / (z1 * z1), -u2 * w2 / (z2 * z2)
                g0, g1, g2 = u0 / z0, u1 / z1, u2 / z2
            else:
                w0, w1, w2 = b0, b1, b2
                h0, h1, h2 = gz * w0, gz * w1, gz * w2
                g0, g1, g2 = g0 + gz * z0, g1 + gz * z1, g2 + gz * z2
            area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
            if area == 0:
                continue
            sx = (g0 * (y1 - y2) + g1 * (y2 - y0) + g2 * (y0 - y1)) / area
            sy = (g0 * (x2 - x1) + g1 * (x0 - x2) + g2 * (x1 - x0)) / area
            out[i, 0] -= w0 * sx
            out[i, 1] -= w0 * sy
            out[i, 2] += h0
            out[j, 0] -= w1 * sx
            out[j, 1] -= w1 * sy
            out[j, 2] += h1
            out[k, 0] -= w2 * sx
            out[k, 1] -= w2 * sy
            out[k, 2] += h2
    return True


@compiled
def blend(face_index, barycentric, faces, attributes, out):
    """out (P, C), given as zeros: the corners' attributes (V, C) weighted by the barycentrics (P, 3); False for a bad index."""
    count, channels = attributes.shape
    inside = True
    for p in range(face_index.shape[0]):
        f = face_index[p]
        if f < 0:
            continue
        if f >= faces.shape[0]:
            inside = False
            continue
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        if i < 0 or j < 0 or k < 0 or i >= count or j >= count or k >= count:
            inside = False
            continue
        w0, w1, w2 = barycentric[p, 0], barycentric[p, 1], barycentric[p, 2]
        for c in range(channels):
            out[p, c] = w0 * attributes[i, c] + w1 * attributes[j, c] + w2 * attributes[k, c]
    return inside


@compiled
def blend_gradient(face_index, barycentric, faces, attributes, given, grad_barycentric, grad_attributes, want_attributes):
    """Gradient of `blend` for given (P, C): adds to grad_barycentric (P, 3), and to grad_attributes (V, C) if wanted."""
    channels = attributes.shape[1]
    for p in range(face_index.shape[0]):
        f = face_index[p]
        if f < 0:
            continue
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        w0, w1, w2 = barycentric[p, 0], barycentric[p, 1], barycentric[p, 2]
        g0, g1, g2 = 0.0, 0.0, 0.0
        for c in range(channels):
            g = given[p, c]
            g0 += g * attributes[i, c]
            g1 += g * attributes[j, c]
            g2 += g * attributes[k, c]
            if want_attributes:
                grad_attributes[i, c] += w0 * g
                grad_attributes[j, c] += w1 * g
                grad_attributes[k, c] += w2 * g
        grad_barycentric[p, 0] = g0
        grad_barycentric[p, 1] = g1
        grad_barycentric[p, 2] = g2
    return True
