"""Trains the tiny Wan 2.2: `make tiny` does all of it; `make tiny ARGS="vae high"` some courses, in their order.

Each goes on from its last checkpoint in the cache (`--folder`). When its steps are done, its file is written below
`models` there, under the name that the shipped graphs use, and the next one begins.
"""

import argparse
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .course import Course
    from .latents import Latents, Size

ROOT = Path(__file__).resolve().parent.parent
# The courses in their order, and the steps of each; `style` has four of them.
STEPS = {"vae": 4000, "high": 5500, "low": 3400, "rcm_low": 600, "rcm_high": 500, "style": 400}


def import_comfyui() -> None:
    """Imports ComfyUI for the CPU, or the GPU if there is one, and makes the checkout importable as `pack`."""
    sys.path[0] = os.environ["COMFYUI_DIR"]
    sys.path.append(str(ROOT / "tools"))
    from torch_compat import let_torchvision_import  # pyright: ignore[reportMissingImports]

    let_torchvision_import()
    import torch
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()
    pack = types.ModuleType("pack")
    pack.__path__ = [str(ROOT)]
    sys.modules["pack"] = pack


class Training:
    """All courses in one folder.

    Args:
        folder: Of checkpoints, logs, latents and models.
        seed: Of all of them.
        steps: By course, how many in all.
        dim: Of the VAE.
    """

    def __init__(self, folder: Path, seed: int, steps: dict[str, int], dim: int) -> None:
        self.folder, self.seed, self.steps, self.dim = folder, seed, steps, dim
        self.models = folder / "models"

    def vae(self) -> None:
        """Trains the VAE."""
        from pack.tiny import files, vae_training  # pyright: ignore[reportMissingImports]

        course = vae_training.course(self.folder, self.steps["vae"], self.dim, self.seed)
        self._run("vae", course, lambda: files.write_vae(course.parts["model"], self.models))

    def high(self) -> None:
        """Makes the text encoder and trains the high-noise expert."""
        from pack.tiny import files  # pyright: ignore[reportMissingImports]

        files.write_text(self.models, self.seed)
        self._expert(True, self.steps["high"])

    def low(self) -> None:
        """Trains the low-noise expert, which starts as the high-noise one."""
        self._expert(False, self.steps["low"])

    def rcm_low(self) -> None:
        """Distils the low-noise LoRA of the few-step pair."""
        self._student(False, self.steps["rcm_low"])

    def rcm_high(self) -> None:
        """Distils the high-noise LoRA of the few-step pair, which leads to where the low-noise one goes on."""
        self._student(True, self.steps["rcm_high"])

    def style(self) -> None:
        """Trains the LoRAs of both styles for both experts."""
        from pack.tiny import files, style, text  # pyright: ignore[reportMissingImports]

        for high in (False, True):  # the low-noise ones paint most of it
            for words in text.STYLE_WORDS:
                expert = files.read_expert(self.models, high)
                course = style.style_course(
                    self.folder, self.steps["style"], self.seed, words, high, expert, self._latents()
                )
                name = course.name
                self._run(name, course, lambda model=expert, name=name: files.write_lora(model, self.models, name))

    def _expert(self, high: bool, steps: int) -> None:
        from pack.tiny import experts, files  # pyright: ignore[reportMissingImports]

        start = None if high else files.read_expert(self.models, True)
        course = experts.expert_course(self.folder, steps, self.seed, high, self._latents(), start)
        model = course.parts["model"]
        self._run(course.name, course, lambda: files.write_expert(model, self.models, high))

    def _student(self, high: bool, steps: int) -> None:
        from pack.tiny import distil, files  # pyright: ignore[reportMissingImports]

        teacher, student = (files.read_expert(self.models, high) for _ in range(2))
        low = files.adapted(files.read_expert(self.models, False), self.models, "rcm_low") if high else None
        course = distil.student_course(
            self.folder, steps, self.seed, teacher.requires_grad_(False), student, low, self._latents()
        )
        self._run(course.name, course, lambda: files.write_lora(student, self.models, course.name))

    def _run(self, name: str, course: "Course", write: Callable[[], Any]) -> None:
        """Ends a course and writes its file, with the mean of the weights."""
        from pack.tiny import files, optimiser  # pyright: ignore[reportMissingImports]

        course.run()
        with optimiser.swapped_in(course.parts["learner"]):
            write()
        sys.stderr.write(f"{name}: done; all files together have {files.megabytes(self.models):.1f} MB\n")

    def _latents(self) -> Callable[..., "Latents"]:
        from pack.tiny import files, latents  # pyright: ignore[reportMissingImports]

        vae, text = files.read_vae(self.models), files.read_text(self.models)

        def of(size: "Size", style: str = "plain") -> "Latents":
            return latents.Latents(self.folder / "latents", vae, text, size, style)

        return of


def main() -> None:
    """Runs courses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("courses", nargs="*", help=f"of {', '.join(STEPS)}; all of them if none is named")
    parser.add_argument("--folder", type=Path, help="of checkpoints, logs and models; the cache's `tiny` if left out")
    parser.add_argument("--steps", type=int, help="of each course, in place of its own number")
    parser.add_argument("--dim", type=int, default=8, help="channels of the VAE at full size")
    parser.add_argument("--seed", type=int, default=14)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if unknown := set(options.courses) - set(STEPS):
        parser.error(f"There is no course {', '.join(sorted(unknown))}. Name some of {', '.join(STEPS)}.")
    import_comfyui()
    import torch
    from pack.tiny.quick import compile_norms  # pyright: ignore[reportMissingImports]
    from setup_cache import cache_dir  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(options.threads)
    compile_norms()
    steps = {name: options.steps or count for name, count in STEPS.items()}
    training = Training(options.folder or cache_dir() / "tiny", options.seed, steps, options.dim)
    for name in STEPS:
        if name in options.courses or not options.courses:
            getattr(training, name)()


if __name__ == "__main__":
    main()
