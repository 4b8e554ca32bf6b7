"""`python client`, from the checkout, without an installation."""

import io
import sys
from pathlib import Path

if not __package__:  # run as a folder: put the checkout, not the folder, where Python looks for modules
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

NEEDED = {
    "httpx": "httpx",
    "websockets": "websockets",
    "typer": "typer",
    "rich": "rich",
    "PIL": "pillow",
    "tomli": "tomli",
}

try:
    from client.cli import main
except ModuleNotFoundError as error:
    if error.name is None or error.name not in NEEDED:
        raise
    python = Path(sys.executable).name
    sys.exit(
        f"The client needs the package {NEEDED[error.name]}. Run: {python} -m pip install -r client/requirements.txt"
    )

if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):  # outside of a terminal it may take few letters, and names have all
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main())
