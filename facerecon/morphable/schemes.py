"""Landmark schemes: what each number means, which points mirror each other, which belong together.

`left` and `right` are the subject's; the subject's left is at the image's right on a frontal face. Indices count from 0.

- `ibug68`: the 68 points of 300-W, in the anatomical ("3D") sense of 300W-LP and AFLW2000-3D: the jaw points stay on the jaw
  and do not slide to the visible contour.
- `mediapipe478`: MediaPipe's face mesh (468 points) and irises (10 more).
- `five`: image-left eye centre, image-right eye centre, nose tip, image-left and image-right mouth corner.
"""

from __future__ import annotations

IBUG68_NAMES: tuple[str, ...] = (
    *(f"jaw {index}" for index in range(17)),
    *(f"right brow {index}" for index in range(5)), *(f"left brow {index}" for index in range(5)),
    *(f"nose bridge {index}" for index in range(4)), *(f"nostril {index}" for index in range(5)),
    "right eye outer corner", "right eye upper outer", "right eye upper inner", "right eye inner corner",
    "right eye lower inner", "right eye lower outer",
    "left eye inner corner", "left eye upper inner", "left eye upper outer", "left eye outer corner",
    "left eye lower outer", "left eye lower inner",
    "mouth right corner", *(f"outer upper lip {index}" for index in range(5)), "mouth left corner",
    *(f"outer lower lip {index}" for index in range(5)),
    "inner mouth right corner", *(f"inner upper lip {index}" for index in range(3)), "inner mouth left corner",
    *(f"inner lower lip {index}" for index in range(3)),
)

IBUG68_GROUPS: dict[str, tuple[int, ...]] = {
    "jaw": tuple(range(17)), "right brow": tuple(range(17, 22)), "left brow": tuple(range(22, 27)),
    "nose": tuple(range(27, 36)), "right eye": tuple(range(36, 42)), "left eye": tuple(range(42, 48)),
    "outer lips": tuple(range(48, 60)), "inner lips": tuple(range(60, 68)),
}

# Partner of each point under a horizontal mirror: flipped points are points[FLIP] with x -> W - 1 - x.
IBUG68_FLIP: tuple[int, ...] = (
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
)

FIVE_NAMES: tuple[str, ...] = ("right eye", "left eye", "nose tip", "mouth right corner", "mouth left corner")
FIVE_FLIP: tuple[int, ...] = (1, 0, 2, 4, 3)

MEDIAPIPE478_GROUPS: dict[str, tuple[int, ...]] = {
    "oval": (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
             136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
    "outer lips": (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146),
    "inner lips": (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95),
    "right eye": (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    "left eye": (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
    "right brow": (70, 63, 105, 66, 107, 46, 53, 52, 65, 55),
    "left brow": (300, 293, 334, 296, 336, 276, 283, 282, 295, 285),
    "nose": (168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 98, 97, 326, 327, 129, 358, 64, 294, 48, 278),
    "right iris": (468, 469, 470, 471, 472), "left iris": (473, 474, 475, 476, 477),
}

_MEDIAPIPE_PAIRS = (
    "3-248, 7-249, 20-250, 21-251, 22-252, 23-253, 24-254, 25-255, 26-256, 27-257, 28-258, 29-259, 30-260, 31-261, "
    "32-262, 33-263, 34-264, 35-265, 36-266, 37-267, 38-268, 39-269, 40-270, 41-271, 42-272, 43-273, 44-274, 45-275, "
    "46-276, 47-277, 48-278, 49-279, 50-280, 51-281, 52-282, 53-283, 54-284, 55-285, 56-286, 57-287, 58-288, 59-289, "
    "60-290, 61-291, 62-292, 63-293, 64-294, 65-295, 66-296, 67-297, 68-298, 69-299, 70-300, 71-301, 72-302, 73-303, "
    "74-304, 75-305, 76-306, 77-307, 78-308, 79-309, 80-310, 81-311, 82-312, 83-313, 84-314, 85-315, 86-316, 87-317, "
    "88-318, 89-319, 90-320, 91-321, 92-322, 93-323, 95-324, 96-325, 97-326, 98-327, 99-328, 100-329, 101-330, 102-331, "
    "103-332, 104-333, 105-334, 106-335, 107-336, 108-337, 109-338, 110-339, 111-340, 112-341, 113-342, 114-343, 115-344, "
    "116-345, 117-346, 118-347, 119-348, 120-349, 121-350, 122-351, 123-352, 124-353, 125-354, 126-355, 127-356, 128-357, "
    "129-358, 130-359, 131-360, 132-361, 133-362, 134-363, 135-364, 136-365, 137-366, 138-367, 139-368, 140-369, 141-370, "
    "142-371, 143-372, 144-373, 145-374, 146-375, 147-376, 148-377, 149-378, 150-379, 153-380, 154-381, 155-382, 156-383, "
    "157-384, 158-385, 159-386, 160-387, 161-388, 162-389, 163-390, 165-391, 166-392, 167-393, 169-394, 170-395, 171-396, "
    "172-397, 173-398, 174-399, 176-400, 177-401, 178-402, 179-403, 180-404, 181-405, 182-406, 183-407, 184-408, 185-409, "
    "186-410, 187-411, 188-412, 189-413, 190-414, 191-415, 192-416, 193-417, 194-418, 196-419, 198-420, 201-421, 202-422, "
    "203-423, 204-424, 205-425, 206-426, 207-427, 208-428, 209-429, 210-430, 211-431, 212-432, 213-433, 214-434, 215-435, "
    "216-436, 217-437, 218-438, 219-439, 220-440, 221-441, 222-442, 223-443, 224-444, 225-445, 226-446, 227-447, 228-448, "
    "229-449, 230-450, 231-451, 232-452, 233-453, 234-454, 235-455, 236-456, 237-457, 238-458, 239-459, 240-460, 241-461, "
    "242-462, 243-463, 244-464, 245-465, 246-466, 247-467, 468-473, 469-476, 470-475, 471-474, 472-477"
)


def _flip_of_pairs(pairs: str, count: int) -> tuple[int, ...]:
    flip = list(range(count))
    for pair in pairs.split():
        first, second = map(int, pair.strip(",").split("-"))
        flip[first], flip[second] = second, first
    return tuple(flip)


# Points that are not in a pair lie on the middle plane and mirror to themselves.
MEDIAPIPE478_FLIP: tuple[int, ...] = _flip_of_pairs(_MEDIAPIPE_PAIRS, 478)

# The MediaPipe point at (about) each iBUG point: exact for eyes, lips and nose to one or two millimetres; the jaw points of
# MediaPipe follow the visible contour, so those seventeen agree on frontal faces only.
IBUG68_TO_MEDIAPIPE478: tuple[int, ...] = (
    127, 234, 93, 132, 58, 172, 150, 176, 152, 400, 379, 397, 288, 361, 323, 454, 356,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)

COUNTS: dict[str, int] = {"ibug68": 68, "mediapipe478": 478, "five": 5}
FLIPS: dict[str, tuple[int, ...]] = {"ibug68": IBUG68_FLIP, "mediapipe478": MEDIAPIPE478_FLIP, "five": FIVE_FLIP}
