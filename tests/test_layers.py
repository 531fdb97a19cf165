"""The shape of the package: imports go downward only, files stay readable, nothing heavy or unsafe where it must not be."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "facerecon"
LAYERS = {
    "errors": 0, "checks": 0, "assets": 0, "files": 0, "lazy": 0, "tensorfile": 0, "networkfile": 0,
    "childprocess": 0,
    "geometry": 1,
    "morphable": 2, "render": 2, "gmda": 2, "detection": 2, "export": 2, "data": 2, "metrics": 2,
    "alignment": 3, "pncc": 3, "mofa": 3, "fitting": 3,
    "reconstruction": 4, "views": 4, "pipeline": 4, "synthesis": 4,
    "training": 5, "evaluation": 5, "onnx_export": 5,
    "viz": 6, "cli": 6, "__main__": 6,
}
# Parts of one layer that may use each other, in this direction; every other pair of one layer is independent.
SIDEWAYS = {("assets", "files"), ("assets", "errors"), ("files", "errors"), ("checks", "errors"), ("tensorfile", "errors"),
            ("childprocess", "errors"),
            ("networkfile", "checks"), ("networkfile", "errors"), ("networkfile", "tensorfile"),
            ("tensorfile", "files"), ("detection", "data"),
            ("pipeline", "reconstruction"), ("reconstruction", "views"), ("synthesis", "views"), ("cli", "viz"), ("__main__", "cli"),
            ("training", "evaluation")}
LONGEST = 300
HEAVY = ("torch", "cv2", "mediapipe", "numba", "scipy", "PIL", "trimesh", "pygltflib", "safetensors", "open3d", "pytorch3d")
# The converters read foreign files on purpose, in child processes with limits.
CONVERTER = PACKAGE / "morphable" / "basel"
UNPICKLER = PACKAGE / "gmda" / "fabrec_worker.py"


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports_of(path: Path) -> set[tuple[str, ...]]:
    """Every facerecon module that a file imports, anywhere in it, and names in texts that are imported lazily."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {tuple(name.name.split(".")) for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write it in full"
            found |= {(*node.module.split("."), name.name) for name in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("facerecon."):
            words = node.value.split(".")
            if all(word.isidentifier() for word in words):
                found.add(tuple(words))
    return {name for name in found if name[0] == "facerecon" and len(name) > 1}


@pytest.mark.parametrize("path", [path for path in modules() if path != PACKAGE / "__init__.py"],
                         ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_go_downward(path):
    part = part_of(path)
    assert part in LAYERS, f"{part}: give it a layer"
    for name in imports_of(path):
        other = name[1]
        if other == part or other not in LAYERS:
            # A name of the package itself (`from facerecon import __version__`); other modules are in LAYERS or fail above.
            continue
        allowed = LAYERS[other] < LAYERS[part] or (part, other) in SIDEWAYS
        assert allowed, f"{part} (layer {LAYERS[part]}) imports {'.'.join(name)} (layer {LAYERS[other]})"


def test_the_check_sees_a_breach(tmp_path):
    file = tmp_path / "bad.py"
    file.write_text("def f():\n    from facerecon.cli.main import main\n    return main, 'facerecon.training'\n")
    assert imports_of(file) == {("facerecon", "cli", "main", "main"), ("facerecon", "training")}


def test_the_adaptation_core_knows_no_faces():
    for path in (PACKAGE / "gmda").rglob("*.py"):
        others = {name[1] for name in imports_of(path)} - {"gmda"}
        assert all(LAYERS.get(other, 0) == 0 for other in others), path


def test_the_lower_layers_read_no_dataset():
    for path in modules():
        if LAYERS.get(part_of(path), 9) <= 4 and part_of(path) != "data":
            assert not any(name[1:3] == ("data", "datasets") for name in imports_of(path)), path


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_files_stay_readable(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_nothing_unpickles():
    banned_modules = {"pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal", "h5py"}
    for path in modules():
        if CONVERTER in path.parents or path == UNPICKLER:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else [node.module] if isinstance(
                node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & banned_modules, f"{path}: {names}"
            if isinstance(node, ast.Attribute):
                owner = ast.unparse(node.value)
                assert (owner, node.attr) != ("torch", "load"), path
                assert node.attr not in ("loadmat", "read_pickle"), f"{path}: {node.attr}"
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert isinstance(node.value, ast.Constant) and node.value.value is False, f"{path}: allow_pickle"


def test_the_unpickler_is_safe_and_only_ever_a_process_of_its_own():
    calls = [node for node in ast.walk(ast.parse(UNPICKLER.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    loads = [node for node in calls if ast.unparse(node.func).split(".")[-1] in ("load", "loads", "Unpickler")]
    assert [ast.unparse(node.func) for node in loads] == ["torch.load"]
    assert {word.arg: ast.unparse(word.value) for word in loads[0].keywords}["weights_only"] == "True"
    name = UNPICKLER.stem
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert name not in node.module and name not in {one.name for one in node.names}, path
            elif isinstance(node, ast.Import):
                assert not any(name in one.name for one in node.names), path
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith(f".{name}"):
                assert path.name == "fabrec.py", f"{path}: only the importer starts it"


def test_no_bare_except():
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"{path}:{node.lineno}"


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has after running `code`."""
    script = f"import sys\n{code}\nprint('\\n'.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_is_light():
    loaded = loaded_by("import facerecon\ndir(facerecon)\nfacerecon.__version__")
    assert "facerecon" in loaded and not loaded & {*HEAVY, "numpy", "typer", "rich"}


def test_help_is_light():
    code = ("from facerecon.cli.main import app\n"
            "for words in (['--help'], ['reconstruct', '--help'], ['doctor', '--help'], ['models', '--help']):\n"
            "    try:\n        app(words)\n    except SystemExit as end:\n        assert end.code == 0, words")
    loaded = loaded_by(code)
    assert "typer" in loaded and not loaded & {*HEAVY, "numpy"}
