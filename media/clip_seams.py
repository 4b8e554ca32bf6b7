"""What a clip's frames tell side by side: seams, light that flickers, colours that drift, and runs of frames."""

import numpy as np

LIGHT = np.array([0.2126, 0.7152, 0.0722])  # of red, green and blue in BT.709
NEIGHBOURS = 8  # frames that a frame is compared with: the nearest, of which one may be a seam itself
JUMP = 2.5, 2.0  # a seam's picture differs by so many times as much as its neighbours', and by so much more, of 255 ...
STEP = 4.0, 0.75  # ... or its mean colour does: that of a continuation, which differs a little everywhere
DARK = 1.0  # of 255: the colour of what is darker is not known


def light_of(colours: np.ndarray) -> np.ndarray:
    """Returns the brightness of colours, float[..., 3] of 255: float[...]."""
    return colours @ LIGHT


def seams(differences: np.ndarray, means: np.ndarray, frozen: list[int]) -> list[int]:
    """Finds the frames that differ from the one before far more than the frames around them do, counted from 0.

    Args:
        differences: float[F], of each frame from the one before, of 255; NaN where there is none to compare with.
        means: float[F, 3], the mean colour of each frame; NaN likewise.
        frozen: Frames that repeat the one before, which tell nothing of how much frames differ here.
    """
    steps = np.full(len(means), np.nan)
    steps[1:] = np.abs(np.diff(means, axis=0)).max(axis=1)
    return sorted(set(spikes(differences, *JUMP, frozen)) | set(spikes(steps, *STEP, frozen)))


def spikes(values: np.ndarray, times: float, least: float, ignored: list[int]) -> list[int]:
    """Returns where values, float[F], are so many times as large as their neighbours, and larger by `least`."""
    others = values.copy()
    others[ignored] = np.nan
    found = []
    for index in np.flatnonzero(values > least).tolist():
        begin = max(0, min(index - NEIGHBOURS // 2, len(values) - NEIGHBOURS - 1))
        around = np.delete(others[begin : begin + NEIGHBOURS + 1], index - begin)
        usual = sorted(around[~np.isnan(around)])[-2:-1]  # of all but the largest
        if usual and values[index] > times * usual[0] and values[index] > usual[0] + least:
            found.append(index)
    return found


def unsteadiness(lights: np.ndarray, cuts: list[int]) -> float | None:
    """Returns how far the brightness of frames is from their neighbours', on average, without those at a seam.

    Args:
        lights: float[F], of 255; NaN of a frame that shows nothing.
        cuts: The frames after a seam.
    """
    off = np.abs(lights[1:-1] - (lights[:-2] + lights[2:]) / 2)
    beside = {frame - 1 + side for frame in cuts for side in (0, -1)}
    off[[index for index in beside if 0 <= index < len(off)]] = np.nan
    known = off[~np.isnan(off)]
    return float(known.mean()) if known.size else None


def colour_drift(first: np.ndarray, last: np.ndarray) -> float | None:
    """Returns how far a mean colour is from another, both float[3] of 255, at the brightness of the first.

    None where one is too dark to have a colour.
    """
    before, after = float(light_of(first)), float(light_of(last))
    if min(before, after) < DARK:
        return None
    return float(np.abs(last * before / after - first).max())


def runs(frames: list[int]) -> tuple[tuple[int, int], ...]:
    """Returns the first and the last of each run of frames; they are counted from 0 there, and from 1 here."""
    found: list[tuple[int, int]] = []
    for frame in frames:
        if found and found[-1][1] == frame:
            found[-1] = (found[-1][0], frame + 1)
        else:
            found.append((frame + 1, frame + 1))
    return tuple(found)
