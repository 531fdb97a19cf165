"""Trained networks as ONNX files, which programs without torch can run; every file is compared with torch before it is kept."""

from __future__ import annotations

from facerecon.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, {
    "OnnxGraph": "graphs",
    "load_graph": "graphs",
    "Difference": "comparison",
    "compare_session": "comparison",
    "OnnxReport": "writer",
    "export_onnx": "writer",
    "write_onnx": "writer",
})
