"""`facerecon`: the verbs."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from facerecon import __version__
from facerecon.cli import convert_basel, doctor, evaluate, label, models, reconstruct, synthesise, train
from facerecon.cli.group import Verbs

HELP = """Textured, posed, animatable 3D face meshes from photos, on a CPU, offline.

Start with:  facerecon reconstruct photo.jpg -o out
"""

app = typer.Typer(name="facerecon", cls=Verbs, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  rich_markup_mode=None, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
for command, summary in (
    (reconstruct.reconstruct, "Photos to textured, animatable 3D face meshes."),
    (reconstruct.landmarks, "Photos to landmarks: of the fitted model, or by a network."),
    (reconstruct.pncc, "Photos to coordinate code maps (PNCC)."),
    (reconstruct.annotate, "A folder of photos to their predicted PNCC."),
    (train.train, "Train the networks, by recipes."),
    (synthesise.synthesise, "Training pictures with exact ground truth."),
    (convert_basel.convert_basel, "A Basel model file to a .facemodel."),
    (doctor.doctor, "What is installed, what works, what is missing."),
):
    app.command(short_help=summary)(command)
app.add_typer(models.app, name="models")
evaluate.register(app)
label.register(app)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit()


def main() -> None:
    """Entry point of the command: one thread for each process, unless the user's environment says otherwise.

    A face is thousands of small steps. Threads inside them gain nothing on a quiet machine and lose several times over on a
    busy one; `--workers` is what uses the cores. The libraries read these variables when they are loaded, which is later.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    if not any(name in os.environ for name in names):
        os.environ.update(dict.fromkeys(names, "1"))
    app(prog_name="facerecon")
