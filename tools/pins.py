"""Chooses the version of every package that the set-up installs, and writes it down with the hashes of its files.

    make pins                     keeps the versions that are written down, adds what is missing, looks up all hashes
    make pins ARGS="numpy rich"   also takes the newest versions of these; --newest: of all

The package index is the one that pip is configured for. tools/constraints.txt has what every ComfyUI gets,
tools/pins/VERSION.txt what one version of ComfyUI gets besides. Every Python and system below is looked at, whichever
this one is: their requirements are walked with the markers of each.
"""

import argparse
import hashlib
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bootstrap import CONSTRAINTS, PIP_PIN, RELEASES, ROOT, TORCH, TORCH_FRIENDS, install_comfyui, pins_of
from package_index import Index, setting
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
SYSTEMS = {
    "linux": ("Linux", "posix", "x86_64", r"(manylinux\w*|linux)_x86_64"),
    "linux on ARM": ("Linux", "posix", "aarch64", r"(manylinux\w*|linux)_aarch64"),
    "darwin": ("Darwin", "posix", "arm64", r"macosx_\w+_(arm64|universal2)"),
    "win32": ("Windows", "nt", "AMD64", r"win_amd64"),
}
KINDS = re.compile("|".join(["any", *(system[3] for system in SYSTEMS.values())]))
PASSES = 20
ALONE = {canonicalize_name(Requirement(line).name) for line in TORCH_FRIENDS}  # which the set-up installs --no-deps
HEADER = "# By `make pins`: the versions that the set-up installs, and the sha256 of each file that it may take.\n"


@dataclass(frozen=True)
class Environment:
    """A Python on a system."""

    python: str
    system: str

    def markers(self, extra: str = "") -> dict[str, str]:
        """Returns the values of a requirement's markers."""
        platform, os_name, machine, _ = SYSTEMS[self.system]
        return {
            "python_version": self.python, "python_full_version": f"{self.python}.9", "os_name": os_name,
            "sys_platform": self.system.split()[0], "platform_system": platform, "platform_machine": machine,
            "platform_python_implementation": "CPython", "implementation_name": "cpython", "extra": extra,
        }  # fmt: skip

    def takes(self, filename: str) -> bool:
        """Returns whether a wheel can be installed there."""
        minor = int(self.python.split(".")[1])
        return any(
            runs_on(tag.interpreter, tag.abi, minor) and re.fullmatch(f"any|{SYSTEMS[self.system][3]}", tag.platform)
            for tag in parse_wheel_filename(filename)[3]
        )


ENVIRONMENTS = [Environment(python, system) for python in PYTHONS for system in SYSTEMS]


def runs_on(interpreter: str, abi: str, minor: int) -> bool:
    """Returns whether code for an interpreter and its interface runs on CPython 3.minor."""
    if interpreter == f"cp3{minor}":
        return abi in (f"cp3{minor}", "abi3", "none")
    if abi == "abi3":
        return interpreter.startswith("cp3") and int(interpreter[3:]) <= minor
    return interpreter in ("py3", *(f"py3{each}" for each in range(minor + 1))) and abi == "none"


@dataclass
class Choice:
    """The versions chosen for one ComfyUI, by package and environment."""

    index: Index
    written: dict[str, list[tuple[Version, str]]]  # versions that are written down, and their markers
    newest: set[str]
    chosen: dict[tuple[str, Environment], Version] = field(default_factory=dict)

    def walk(self, roots: list[Requirement], environment: Environment) -> None:
        """Chooses a version of everything that these requirements lead to, until none asks for another."""
        before: dict[str, SpecifierSet] = {}
        for _ in range(PASSES):
            wanted: dict[str, SpecifierSet] = defaultdict(SpecifierSet)
            queue, seen = [(requirement, "") for requirement in roots], set()
            while queue:
                requirement, extra = queue.pop()
                name = canonicalize_name(requirement.name)
                if requirement.marker and not requirement.marker.evaluate(environment.markers(extra)):
                    continue
                wanted[name] &= requirement.specifier
                for one in ("", *sorted(requirement.extras)):
                    if (name, one) not in seen:
                        seen.add((name, one))
                        specifier = before.get(name, SpecifierSet()) & wanted[name]
                        queue += [(each, one) for each in self.asked(name, specifier, environment)]
            if wanted == before:
                self.chosen = {
                    key: each for key, each in self.chosen.items() if key[1] != environment or key[0] in wanted
                }
                return
            before = dict(wanted)
        raise SystemExit(f"The requirements for Python {environment.python} on {environment.system} do not agree.")

    def asked(self, name: str, specifier: SpecifierSet, environment: Environment) -> list[Requirement]:
        """Chooses a version of a package, and returns what it asks for."""
        version = self.version(name, specifier, environment)
        if version is None:  # asked for by a version that another pass will not choose
            return []
        self.chosen[name, environment] = version
        file = next(file for file in self.index.wheels(name)[version] if environment.takes(file["filename"]))
        return [] if name in ALONE else self.index.requirements(file["url"])

    def version(self, name: str, specifier: SpecifierSet, environment: Environment) -> Version | None:
        """Returns the version that is written down, if it will do, else the newest one that does."""
        known = [] if name in self.newest else self.written.get(name, [])
        kept = [version for version, marker in known if not marker or Marker(marker).evaluate(environment.markers())]
        every = sorted(self.index.wheels(name), reverse=True)
        for version in [*kept, *(each for each in every if not each.is_prerelease)]:
            if version in specifier and self.fits(name, version, environment):
                return version
        return None

    def fits(self, name: str, version: Version, environment: Environment) -> bool:
        """Returns whether a version has a wheel for an environment, and takes its Python."""
        return any(
            environment.takes(file["filename"])
            and f"{environment.python}.9" in SpecifierSet(file["requires-python"] or "")
            for file in self.index.wheels(name).get(version, [])
        )


def read(path: Path) -> dict[str, list[tuple[Version, str]]]:
    """Reads which versions a file of pins has, with their markers."""
    found = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        if line and line[0] not in "# ":
            requirement = Requirement(line.removesuffix("\\"))
            (pin,) = requirement.specifier
            found[canonicalize_name(requirement.name)].append((Version(pin.version), str(requirement.marker or "")))
    return found


def roots_of(comfyui: str) -> list[Requirement]:
    """Returns what the set-up asks for, for one version of ComfyUI."""
    files = [ROOT / "tools" / "requirements.txt", install_comfyui(comfyui) / "requirements.txt"]
    lines = (line.partition("#")[0].strip() for file in files for line in file.read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in ("pip", TORCH, *TORCH_FRIENDS, *lines) if line]


def blocks(chosen: dict[tuple[str, Environment], Version], index: Index, kept: dict[str, set[str]]) -> Iterator[str]:
    """Yields the text of each pin: name, version, the Pythons that it is for, and its hashes."""
    pythons: dict[str, dict[Version, set[str]]] = defaultdict(lambda: defaultdict(set))
    every: dict[str, set[str]] = defaultdict(set)
    for (name, environment), version in chosen.items():
        pythons[name][version].add(environment.python)
        every[name].add(environment.python)
    for name, versions in sorted(pythons.items()):
        for version, where in sorted(versions.items(), reverse=True):
            marker = " or ".join(f'python_version == "{each}"' for each in PYTHONS if each in where)
            pin = f"{name}=={version}"
            hashes = kept.get(pin, set()) | {file["hashes"]["sha256"] for file in index.wheels(name)[version] if usual(file["filename"])} | local(name, version)  # noqa: E501  # fmt: skip
            line = pin if where == every[name] == set(PYTHONS) or len(versions) == 1 else f"{pin} ; {marker}"
            yield " \\\n    ".join([line, *(f"--hash=sha256:{each}" for each in sorted(hashes))]) + "\n"


def usual(filename: str) -> bool:
    """Returns whether a wheel is for one of the environments."""
    return any(environment.takes(filename) for environment in ENVIRONMENTS)


def local(name: str, version: Version) -> set[str]:
    """Returns the hashes of wheels that pip is led to on this disk: builds of torch for processors alone, say."""
    found = set()
    for folder in map(Path, setting("find-links").split()):
        for path in folder.glob("*.whl"):
            its_name, its_version, *_ = parse_wheel_filename(path.name)
            if its_name == name and Version(its_version.public) == version:
                found.add(hashlib.sha256(path.read_bytes()).hexdigest())
    return found


def hashes_in(*paths: Path) -> dict[str, set[str]]:
    """Returns the hashes that are written down, by pin: what pip was led to on another disk stays known."""
    found: dict[str, set[str]] = defaultdict(set)
    pin = ""
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
            pin = line.split()[0] if line and line[0] not in "# " else pin
            found[pin] |= set(re.findall(r"--hash=sha256:(\w{64})", line))
    return found


def main(arguments: list[str]) -> None:
    """Chooses for each ComfyUI in each environment, and writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="*")
    parser.add_argument("--newest", action="store_true")
    options = parser.parse_args(arguments)
    index, common = Index(), {**read(CONSTRAINTS), **read(PIP_PIN)}
    choices = {}
    for comfyui in RELEASES:
        written = {**common, **read(pins_of(comfyui))}
        newest: set[str] = set(written if options.newest else map(canonicalize_name, options.packages))
        choices[comfyui] = Choice(index, written, newest)
        for environment in ENVIRONMENTS:
            sys.stderr.write(f"ComfyUI {comfyui}, Python {environment.python} on {environment.system}\n")
            choices[comfyui].walk(roots_of(comfyui), environment)
    names = {name for choice in choices.values() for name, _ in choice.chosen}
    alike = {name for name in names if agree(name, choices)}
    kept = hashes_in(CONSTRAINTS, PIP_PIN, *map(pins_of, RELEASES))
    every = {key: version for choice in choices.values() for key, version in choice.chosen.items()}
    files = {
        PIP_PIN: {key: version for key, version in every.items() if key[0] == "pip"},
        CONSTRAINTS: {key: version for key, version in every.items() if key[0] in alike - {"pip"}},
    }
    for comfyui, choice in choices.items():
        files[pins_of(comfyui)] = {key: version for key, version in choice.chosen.items() if key[0] not in alike}
    for path, chosen in files.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(HEADER + "".join(blocks(chosen, index, kept)), encoding="utf-8")


def agree(name: str, choices: dict[str, Choice]) -> bool:
    """Returns whether all versions of ComfyUI that take a package take the same one."""
    for environment in ENVIRONMENTS:
        versions = {choice.chosen.get((name, environment)) for choice in choices.values()} - {None}
        if len(versions) > 1:
            return False
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
