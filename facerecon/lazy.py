"""Public names of a package that load their module at first use, so that importing the package stays light (PEP 562)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_exports(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """The `__getattr__`, `__dir__` and `__all__` of a package whose public names live in its submodules.

    Args:
        package: the package's `__name__`.
        homes: public name -> submodule that defines it. A name that equals its submodule's gives the submodule itself.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(f"{package}.{homes[name]}")
        return module if homes[name] == name else getattr(module, name)

    return load, lambda: sorted(homes), sorted(homes)
