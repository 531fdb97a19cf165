"""What every verb does with an error."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from facerecon.errors import FaceReconError


class Verbs(TyperGroup):
    """A group of verbs in which a typed error becomes one line and exit status 2, and Ctrl-C exit status 130."""

    def invoke(self, context: Any) -> Any:
        """Run the verb that the command line names."""
        try:
            return super().invoke(context)
        except FaceReconError as error:
            print(f"facerecon: {error.message} [{error.code}]", file=sys.stderr)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            print("facerecon: stopped", file=sys.stderr)
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # The reader of a pipe, such as `head`, has seen enough. Python's last flush must not complain either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
