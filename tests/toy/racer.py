"""Publishes one file of a series as soon as it is told to: racer.py FOLDER STEM SUFFIX TEXT.

Says "ready", waits for a line, and says the name that the file got. It imports nothing but the module under test.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))

from pack.media.publish import NextName, publish


def main() -> None:
    """Writes, waits, publishes."""
    folder, stem, suffix, text = sys.argv[1:]
    place = NextName(Path(folder), stem, suffix)
    with publish(place) as temporary:
        temporary.write_text(text)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
    sys.stdout.write(place.path.name)


if __name__ == "__main__":
    main()
