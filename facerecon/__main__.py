"""`python -m facerecon` is the command `facerecon`."""

from __future__ import annotations

from facerecon.cli.main import main

if __name__ == "__main__":
    main()
