"""How the processes of the exports are started: isolated, with our library first."""

from __future__ import annotations

from pathlib import Path

import dpi_dual


def library() -> str:
    """The directory that `dpi_dual` was imported from; the first argument of `boot`'s text."""
    return str(Path(next(iter(dpi_dual.__path__))).resolve().parent)


def boot(module: str) -> str:
    """For `python -I -c`: runs `main` of a module of this package."""
    return (
        f"import sys; sys.path.insert(0, sys.argv.pop(1)); from dpi_dual.export.{module} import main; sys.exit(main())"
    )
