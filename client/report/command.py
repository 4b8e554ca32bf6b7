"""`python client report`: makes the report of a study anew."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from ..printable import printable

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of a study's results.")]
Against = Annotated[str, typer.Option(help="The variant that the others are compared with. Default: the first.")]


def report(folder: Folder, against: Against = "") -> None:
    """Make the report of a study: one HTML file beside its clips, which opens anywhere."""
    sys.stdout.write(printable(str(make(folder, against))) + "\n")
    sys.stdout.flush()


def make(folder: Path, against: str = "") -> Path:
    """Writes the report into a study's folder, and returns its path.

    Raises:
        UsageError: A package is missing or broken, there is no study, or no such variant in it.
        SaveError: It cannot be written.
    """
    try:
        from .page import make as written
    except ImportError as error:
        packages = {"jinja2": "jinja2", "markupsafe": "jinja2", "numpy": "scipy", "scipy": "scipy"}
        packages["vl_convert"] = "vl-convert-python"
        name = (error.name or "").partition(".")[0]
        if name not in packages and isinstance(error, ModuleNotFoundError):
            raise
        lacks = f"needs the package {packages[name]}" if name in packages else f"cannot load its packages ({name})"
        raise UsageError(
            f"The report {lacks}. Run: pip install jinja2 scipy vl-convert-python. "
            "Then make it, nothing runs again: python client report FOLDER"
        ) from error
    return written(folder, against)
