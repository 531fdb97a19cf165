"""`facerecon`: the verbs, and what an error looks like to a person."""

from __future__ import annotations

import sys

import typer

from facerecon import __version__
from facerecon.cli import doctor, models, reconstruct
from facerecon.errors import FaceReconError

app = typer.Typer(name="facerecon", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  context_settings={"help_option_names": ["-h", "--help"]},
                  help="Textured, posed, animatable 3D face meshes from photos. Start with: facerecon reconstruct photo.jpg -o out")
app.command()(reconstruct.reconstruct)
app.command()(reconstruct.landmarks)
app.command()(reconstruct.pncc)
app.command()(doctor.doctor)
app.add_typer(models.app, name="models")


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        print(__version__)
        raise typer.Exit()


def main() -> None:
    """Entry point; a refused request prints its code and message and exits with 2."""
    try:
        app()
    except FaceReconError as error:
        print(f"facerecon: {error.code}: {error.message}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
