"""Write assets/manifest.json: every shipped file with its SHA-256, size, licence and source.

Licences and sources are kept in assets/licences.json by file-name pattern; a file that no pattern covers is an error, so
nothing ships without its licence.
"""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path

from facerecon.files import sha256_file, write_atomic

ASSETS = Path(__file__).resolve().parent.parent / "assets"
OWN = {"manifest.json", "licences.json"}


def main() -> None:
    rules = json.loads((ASSETS / "licences.json").read_text(encoding="utf-8"))
    files = {}
    for path in sorted(ASSETS.rglob("*")):
        name = path.relative_to(ASSETS).as_posix()
        if not path.is_file() or name in OWN or any(part.startswith(".") for part in name.split("/")):
            continue
        rule = next((rule for rule in rules if fnmatch.fnmatch(name, rule["pattern"])), None)
        if rule is None:
            raise SystemExit(f"no licence for {name}: add a pattern to assets/licences.json")
        files[name] = {"sha256": sha256_file(path), "bytes": path.stat().st_size, "licence": rule["licence"],
                       "source": rule["source"]}
    write_atomic(ASSETS / "manifest.json", json.dumps({"files": files}, indent=1, sort_keys=True) + "\n")
    print(f"{len(files)} files, {sum(entry['bytes'] for entry in files.values()):,} bytes")


if __name__ == "__main__":
    main()
