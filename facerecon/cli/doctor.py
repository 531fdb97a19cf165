"""`facerecon doctor`: what is installed, what works, what is missing and how to get it."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False) -> None:
    """Print versions, devices, back ends and assets, and say what is missing and how to get it.

    Every check tries the thing itself: each renderer draws a triangle, MediaPipe looks at a picture, each asset is hashed.
    Exit status 0 when `reconstruct` can run, 1 when it cannot.
    """
    from facerecon import __version__
    from facerecon.cli.diagnosis import diagnose

    findings = diagnose()
    ready = all(finding.state != "missing" for finding in findings)
    if as_json:
        print(json.dumps({"facerecon": __version__, "ready": ready, "findings": [dataclasses.asdict(f) for f in findings]}, indent=1))
        raise typer.Exit(0 if ready else 1)
    print(f"facerecon {__version__}")
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark = {"ok": "ok", "missing": "MISSING", "optional": "optional"}[finding.state]
        print(f"  {finding.name:{width}}  {mark:8}  {finding.text}")
        if finding.mend:
            print(f"  {'':{width}}            -> {finding.mend}")
    print("ready: facerecon reconstruct photo.jpg -o out" if ready else "not ready: mend what is MISSING, then run facerecon doctor again")
    raise typer.Exit(0 if ready else 1)
