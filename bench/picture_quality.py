"""Where the thresholds of media/quality.py come from: drawn pictures, degraded by known amounts, measured and judged.

Writes bench/results/picture_quality.json, the same on every machine. What the measuring takes goes into the machine's
file.
"""

import itertools
import json
import math
from collections.abc import Iterator

import harness  # isort: skip  # first, since it says what is missing
import cv2
import numpy as np
from pictures import HEIGHT, KINDS, WIDTH, picture

SEEDS = range(8)
PHOTOGRAPH = 3000, 2000  # pixels
SIDES = (720, 400, 200)  # of the JPEG files, in pixels
ENLARGED = (1.25, 1.5, 2, 3, 4.8)
BLURRED = (0.6, 1, 1.5, 2, 3)  # pixels
QUALITIES = (95, 85, 75, 50, 30, 20, 10)
SHARP = ("untouched", "blurred by 0.6 pixels", "enlarged 1.25 times", "with noise of 3 %")
LIGHT = ("no JPEG", "no JPEG, blurred", "quality 95", "quality 85", "quality 75")
SOFT_FALSE_ALARMS, BLOCKY_FALSE_ALARMS = 0.02, 0.01  # of good pictures
NOTABLE_RISE = 0.1  # of the edge blur

Found = dict[str, list[float]]


def enlarge(image: np.ndarray, times: float) -> np.ndarray:
    """Shrinks and enlarges again, as Fit to 720p would enlarge a smaller picture."""
    small = cv2.resize(image, (round(WIDTH / times), round(HEIGHT / times)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_LANCZOS4)


def softened(image: np.ndarray, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yields a picture in every degree of softness."""
    yield "untouched", image
    noise = np.random.default_rng(seed).standard_normal(image.shape, np.float32)
    yield "with noise of 3 %", np.clip(image + 255 * 0.03 * noise, 0, 255).astype(np.uint8)
    for pixels in BLURRED:
        yield f"blurred by {pixels} pixels", cv2.GaussianBlur(image, (0, 0), pixels)
    for times in ENLARGED:
        yield f"enlarged {times} times", enlarge(image, times)


def compress(image: np.ndarray, quality: int) -> np.ndarray:
    """Through a JPEG file, and cropped so that its blocks do not begin at the corner."""
    _, file = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(file, cv2.IMREAD_COLOR)[3:, 5:, ::-1]


def compressed(image: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yields a picture at every JPEG quality."""
    yield "no JPEG", image
    yield "no JPEG, blurred", cv2.GaussianBlur(image, (0, 0), 1.5)
    for quality in QUALITIES:
        yield f"quality {quality}", compress(image, quality)
    for times in (0.75, 1.5):
        yield f"quality 20, resized {times} times", cv2.resize(compress(image, 20), None, fx=times, fy=times)


def measure() -> tuple[Found, Found]:
    """Returns the edge blurs and the block steps of all pictures, by degradation."""
    from pack.media import quality

    blurs: Found = {}
    steps: Found = {}
    for kind, seed in itertools.product(KINDS, SEEDS):
        original = picture(kind, seed)
        for name, image in softened(original, seed):
            blur = quality.edge_blur(as_frame(image))
            blurs.setdefault(name, []).append(math.nan if blur is None else blur)
        for side in SIDES:
            square = cv2.resize(original[:, 280:1000], (side, side), interpolation=cv2.INTER_AREA)
            for name, image in compressed(square):
                steps.setdefault(name, []).append(quality.block_step(as_frame(image)) or 0.0)
    return blurs, steps


def as_frame(image: np.ndarray) -> np.ndarray:
    """uint8 -> float32 in [0, 1], as ComfyUI has it."""
    return image.astype(np.float32) / 255


def threshold(found: Found, good: tuple[str, ...], false_alarms: float, digits: int) -> float:
    """Returns the smallest round value that no more than a share of the good pictures exceeds."""
    values = [value for name in good for value in found[name] if not math.isnan(value)]
    return math.ceil(float(np.quantile(values, 1 - false_alarms)) * 10**digits) / 10**digits


def shares(found: Found, limit: float) -> dict[str, float]:
    """Returns the share of pictures above a limit, of those that can be measured."""
    known = {name: np.array(values)[~np.isnan(values)] for name, values in found.items()}
    return {name: round(float(np.mean(values > limit)), 3) for name, values in known.items()}


def notable_enlargement(blurs: Found) -> dict[str, float]:
    """Returns the share of pictures whose edge blur each enlargement raises notably; those without edges left out."""
    before = np.array(blurs["untouched"])
    known = ~np.isnan(before)
    return {
        f"enlarged {times} times": round(
            float(np.mean((np.array(blurs[f"enlarged {times} times"]) / before)[known] > 1 + NOTABLE_RISE)), 3
        )
        for times in ENLARGED
    }


def against_core() -> dict[str, float | str]:
    """Returns what Fit to 720p takes on a photograph's size, measuring included, beside core's Upscale Image."""
    import torch
    from pack.media.quality import describe_quality
    from pack.nodes.picture import Resolution

    import nodes

    image = torch.from_numpy(as_frame(cv2.resize(picture("leaves", 0), PHOTOGRAPH)))[None]
    fitted = Resolution.execute(image, "720p", "image", "crop")
    source, small = image[0].numpy(), fitted[0][0].numpy()
    timing = harness.alternate(
        {
            "ours": lambda: Resolution.execute(image, "720p", "image", "crop"),
            "core": lambda: nodes.ImageScale().upscale(image, "lanczos", fitted[1], fitted[2], "center"),
            "measuring": lambda: describe_quality(source, small, "crop"),
        },
        runs=15,
    )
    return {
        "time ratio": round(timing["ours"].seconds / timing["core"].seconds, 3),
        **{f"ms {name}": round(1e3 * taken.seconds, 1) for name, taken in timing.items()},
    }


def main() -> None:
    """Measures, and writes thresholds and rates."""
    harness.import_comfyui()
    blurs, steps = measure()
    soft = threshold(blurs, SHARP, SOFT_FALSE_ALARMS, 2)
    blocky = threshold(steps, LIGHT, BLOCKY_FALSE_ALARMS, 1)
    rows = {
        "thresholds": {"SOFT": soft, "BLOCKY": blocky},
        f"share of {np.count_nonzero(~np.isnan(blurs['untouched']))} pictures called soft": shares(blurs, soft),
        f"share of {len(steps['no JPEG'])} pictures called blocky": shares(steps, blocky),
        f"share of pictures whose edge blur rises by more than {NOTABLE_RISE:.0%}": notable_enlargement(blurs),
    }
    path = harness.RESULTS / "picture_quality.json"
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(rows, indent=2))
    harness.save({"picture: Fit to 720p / Upscale Image (lanczos), a picture of 3000x2000": against_core()})


if __name__ == "__main__":
    main()
