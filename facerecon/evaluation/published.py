"""Figures that others have published on AFLW2000-3D, to be printed beside measured ones and never mixed with them.

Each row says where it was printed. They hold for the full 2,000 images and the protocol of their authors, which is not always
known; docs/evaluation.md says what is.
"""

from __future__ import annotations

_COLUMNS = ("0-30", "30-60", "60-90", "mean_of_bins", "mean_all")
# 68 points, 2D, box of the true points; bins, mean of bins, mean of all images.
_NME = {
    "3DDFA (Zhu 2016)": (3.78, 4.54, 7.93, 5.42, 6.03),
    "PRNet (Feng 2018)": (2.75, 3.51, 4.61, 3.62, 3.26),
    "3DDFA_V2 (Guo 2020)": (2.63, 3.42, 4.48, 3.51, None),
    "SADRNet (Ruan 2021)": (2.66, 3.30, 4.42, 3.46, 3.05),
    "SynergyNet (Wu 2021)": (2.65, 3.30, 4.27, 3.41, None),
    "GMDA-R (thesis, table 3.9)": (2.77, 3.57, 4.74, 3.69, 3.22),
    "GMDA-S (thesis, table 3.9)": (2.65, 3.62, 4.89, 3.72, 3.14),
}
_MEANS = {
    "dense2d": {"MoFA (thesis, table 4.1)": 4.31, "MoFaPNCC_few (thesis)": 4.20, "MoFaPNCC_full (thesis)": 4.12},
    "dense3d": {"PRNet (by 3DDFA_V2)": 4.41, "3DDFA_V2 (Guo 2020)": 4.18, "SADRNet (Ruan 2021)": 4.02,
                "MoFA (thesis, table 4.1)": 5.85, "MoFaPNCC_few (thesis)": 5.66, "MoFaPNCC_full (thesis)": 5.48},
    "rec": {"SADRNet (Ruan 2021)": 3.25, "MoFA (thesis, table 4.1)": 7.49, "MoFaPNCC_few (thesis)": 7.61,
            "MoFaPNCC_full (thesis)": 7.55},
    "yaw": {"SADRNet (Ruan 2021)": 2.93, "MoFA (thesis, table 4.1)": 4.97, "MoFaPNCC_few (thesis)": 4.95,
            "MoFaPNCC_full (thesis)": 4.66},
    "mae": {"SynergyNet (Wu 2021)": 3.35},
}
_NAMES = {"nme2d": "NME 68, 2D [%]", "dense2d": "Dense 2D [%]", "dense3d": "Dense 3D [%]", "rec": "3D reconstruction [%]",
          "yaw": "yaw MAE [deg]", "mae": "pose MAE [deg]"}


def published_for(metrics: list[str]) -> list[dict]:
    """Published rows for the metrics of a table: {metric, method, figures {name: value}, text}."""
    rows = []
    if "nme2d" in metrics:
        for method, figures in _NME.items():
            given = {name: figure for name, figure in zip(_COLUMNS, figures) if figure is not None}
            rows.append({"metric": _NAMES["nme2d"], "method": method, "figures": given,
                         "text": "  ".join(f"{name} {figure:.2f}" for name, figure in given.items())})
    for metric, methods in _MEANS.items():
        if metric in metrics:
            rows += [{"metric": _NAMES[metric], "method": method, "figures": {"mean": figure}, "text": f"mean {figure:.2f}"}
                     for method, figure in methods.items()]
    return rows
