"""Save MP4 against the encoder's own floor, ComfyUI's CreateVideo + SaveVideo, and the ffmpeg program.

saving.py                       all in turn, and the rows
saving.py memory PEER FRAMES    one of them alone, for its peak memory

81 frames of 1280x720, H.264, preset medium, CRF 18 for everybody. The floor is the same library with the same settings,
without AVX-512 where that is (decision 17), fed frames that are 4:2:0 already; core and ffmpeg choose by themselves.
ffmpeg, if it is installed, is fed 8-bit RGB: made before the clock starts, or from the same frames. One row more is the
conversion to 4:2:0 alone, beside the same in tensor arithmetic.
"""

import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import harness

FRAMES, WIDTH, HEIGHT, FPS, CRF = 81, 1280, 720, 16, 18
LONG = 4 * FRAMES
MATRICES = {
    "ours": (0.2126, 0.0722),
    "core": (0.299, 0.114),
}  # red and blue of BT.709, and of the BT.601 that core uses


def make_frames(count, grain):
    """A gradient that drifts, or one with soft texture and grain: float32[F, H, W, 3]."""
    import cv2
    import numpy as np
    import torch

    random = np.random.default_rng(0)
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH] / WIDTH
    still = np.stack([0.2 + 0.6 * across, 0.3 + 0.8 * down, 0.7 - 0.5 * across * down], axis=-1)
    if grain:
        texture = cv2.GaussianBlur(random.random((HEIGHT, WIDTH, 3)), (0, 0), 3)
        still += 2 * (texture - texture.mean())
    dust = grain * random.normal(0, 0.01, (8, HEIGHT, WIDTH, 1)).astype(np.float32)
    frames = np.empty((count, HEIGHT, WIDTH, 3), np.float32)
    for number, frame in enumerate(frames):
        np.clip(np.roll(still, 3 * number, axis=1) + dust[number % 8], 0, 1, out=frame)
    return torch.from_numpy(frames)


class Peers:
    """The ways to save, each to the path it returns."""

    def __init__(self, frames):
        import folder_paths
        import torch
        from comfy_extras import nodes_video
        from pack.nodes import video

        self.frames = frames
        self.nodes, self.save_mp4 = nodes_video, video.SaveMp4
        self.folder = Path(folder_paths.get_output_directory()) / "bench"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.pictures = None
        torch.set_num_threads(2)

    def prepare(self):
        """Makes what the floor and ffmpeg are fed, before any clock starts."""
        self.pictures = [picture_of(frame) for frame in self.frames]
        self.rgb = [(frame * 255).round().byte().numpy().tobytes() for frame in self.frames]

    def ours(self):
        """Save MP4."""
        hidden = {"hidden_inputs": {}}
        output = self.save_mp4.PREPARE_CLASS_CLONE(hidden).execute(
            self.frames, float(FPS), "bench/ours", "h264", CRF, "workflow"
        )
        return self.folder / output.ui.as_dict()["images"][0]["filename"]

    def core(self):
        """CreateVideo and SaveVideo with the same CRF, where this ComfyUI knows it."""
        created = self.nodes.CreateVideo.execute(self.frames, float(FPS))[0]
        clone = self.nodes.SaveVideo.PREPARE_CLASS_CLONE({"hidden_inputs": {}})
        output = clone.execute(created, "bench/core", "mp4", core_codec(self.nodes))
        return self.folder / output.ui.as_dict()["images"][0]["filename"]

    def floor(self):
        """The library alone, fed 4:2:0, with the encoder's settings of Save MP4."""
        import av
        from pack.media.codecs import CODECS

        path = self.folder / "floor.mp4"
        with av.open(str(path), "w") as file:
            stream = file.add_stream("libx264", rate=FPS)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.codec_context.time_base = Fraction(1, FPS)
            stream.codec_context.thread_count = 0
            stream.options = {**CODECS["h264"].cpu.options, "crf": str(CRF)}
            for number, picture in enumerate(self.pictures):
                picture.pts, picture.time_base = number, Fraction(1, FPS)
                picture.pict_type = 0
                file.mux(stream.encode(picture))
            file.mux(stream.encode(None))
        return path

    def ffmpeg_from_float(self):
        """The program, with the conversion to 8 bits that it cannot do itself."""
        return self.ffmpeg((frame * 255).round().byte().numpy() for frame in self.frames)

    def ffmpeg(self, frames=None):
        """The program, fed raw RGB through a pipe."""
        path = self.folder / "ffmpeg.mp4"
        command = [
            "ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}",
            "-r", str(FPS), "-i", "-", "-c:v", "libx264", "-preset", "medium", "-crf", str(CRF),
            "-pix_fmt", "yuv420p", "-movflags", "+faststart", str(path),
        ]  # fmt: skip
        with subprocess.Popen(command, stdin=subprocess.PIPE) as program:
            for frame in frames or self.rgb:
                program.stdin.write(frame)
            program.stdin.close()
        return path


def picture_of(frame):
    """Returns a frame as the encoder takes it."""
    import av
    import numpy as np
    from pack.media.colour import rgb_to_yuv420

    planes = np.concatenate([plane.reshape(-1) for plane in rgb_to_yuv420(frame.numpy())])
    return av.VideoFrame.from_ndarray(planes.reshape(-1, WIDTH), format="yuv420p")


def core_codec(nodes):
    """Returns the value of SaveVideo's codec widget for the same CRF; older ComfyUI has none and encodes at 23."""
    import inspect

    if "DynamicCombo" not in inspect.getsource(nodes.SaveVideo):
        return "h264"
    return {"codec": "h264", "encoding": {"encoding": "re-encode", "crf": CRF}}


def psnr(path, frames, matrix):
    """Returns luma and chroma PSNR in dB of a file against the float source.

    Decoded with the file's own matrix, without rounding, and compared as BT.709 luma and colour differences, so that
    files of either matrix are measured alike. Chroma is blended between the even columns and the rows' middles.
    """
    import numpy as np

    errors = []
    for decoded, source in zip(decode_exactly(path, matrix), frames, strict=True):
        difference = decoded - source.numpy()
        luma = difference @ np.float32(weights_of(MATRICES["ours"]))
        chroma = (difference[..., ::2] - luma[..., None]) / (2 - 2 * np.float32(MATRICES["ours"]))
        errors.append((np.mean(luma**2), np.mean(chroma**2)))
    return dict(zip(("luma", "chroma"), -10 * np.log10(np.mean(errors, axis=0)), strict=True))


def weights_of(matrix):
    """Returns the weights of red, green and blue in luma."""
    red, blue = matrix
    return red, 1 - red - blue, blue


def decode_exactly(path, matrix):
    """Yields float32[H, W, 3] in RGB."""
    import av
    import cv2
    import numpy as np

    red_weight, green_weight, blue_weight = weights_of(matrix)
    shift = np.float32([[0.5, 0, 0], [0, 0.5, -0.25]])  # from full size to where chroma samples sit
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    with av.open(str(path)) as file:
        for frame in file.decode(video=0):
            luma, cb, cr = (
                np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : plane.width].astype(np.float32)
                for plane in frame.planes
            )
            cb, cr = (
                cv2.warpAffine(plane, shift, (WIDTH, HEIGHT), flags=flags, borderMode=cv2.BORDER_REPLICATE)
                for plane in (cb, cr)
            )
            luma = (luma - 16) / 219
            blue = luma + 2 * (1 - blue_weight) * (cb - 128) / 224
            red = luma + 2 * (1 - red_weight) * (cr - 128) / 224
            green = (luma - red_weight * red - blue_weight * blue) / green_weight
            yield np.stack([red, green, blue], axis=-1)


def alone(name, count):
    """Runs one peer in this process on `count` frames that share one frame's memory; prints the peak."""
    harness.import_comfyui()
    peers = Peers(make_frames(1, grain=True).expand(count, -1, -1, -1))
    if name == "floor":
        peers.pictures = [picture_of(peers.frames[0])] * count
    if name != "nothing":
        getattr(peers, name)()
    print(harness.peak_mb())


def additional_memory():
    """Returns the megabytes that each peer adds to a process that has the frames, for two lengths."""
    script = Path(__file__)

    def peak(name, count):
        return harness.peak_memory(script, "memory", name, str(count))

    nothing = peak("nothing", FRAMES)
    return {
        (name, count): peak(name, count) - nothing for name in ("floor", "ours", "core") for count in (FRAMES, LONG)
    }


def main():
    """Measures and saves the rows."""
    if sys.argv[1:2] == ["memory"]:
        alone(sys.argv[2], int(sys.argv[3]))
        return
    memory = additional_memory()  # first, while this process is small: on Linux a child's peak begins with its parent's
    harness.import_comfyui()
    rows = {
        f"saving: Save MP4, 81 frames 1280x720, H.264 CRF 18, {name}": row(make_frames(FRAMES, grain))
        for name, grain in (("smooth pictures", False), ("grain and texture", True))
    }
    rows["saving: a frame of 1280x720 to 4:2:0 / the same with tensors"] = conversion(make_frames(9, grain=True))
    lengths = {f"{name}, {count} frames": round(megabytes) for (name, count), megabytes in memory.items()}
    harness.save({**rows, "saving: additional MB at 1280x720": lengths})


def conversion(frames):
    """Returns how long a frame takes on its way from float RGB to the encoder's planes."""
    import torch
    from pack.media.colour import MATRIX, rgb_to_yuv420

    weights, constants = torch.from_numpy(MATRIX[:, :3]), torch.from_numpy(MATRIX[:, 3])

    def ours():
        return [rgb_to_yuv420(frame.numpy()) for frame in frames]

    def tensors():
        return [in_tensors(frame, weights, constants) for frame in frames]

    worst = max(abs(a.astype(int) - b.numpy()).max() for a, b in zip(ours()[0], tensors()[0], strict=True))
    assert worst <= 1, worst  # the same picture but for rounding
    timing = harness.alternate({"ours": ours, "tensors": tensors})
    return {
        "processor time ratio": round(timing["ours"].cpu / timing["tensors"].cpu, 3),
        "time ratio": round(timing["ours"].seconds / timing["tensors"].seconds, 3),
        "ms a frame": round(timing["ours"].seconds / len(frames) * 1000, 2),
    }


def in_tensors(frame, weights, constants):
    """The conversion of media/colour.py in tensor arithmetic: Tensor[H, W, 3] -> Y, Cb, Cr in 8 bits."""
    import torch.nn.functional as F

    luma, cb, cr = (frame.nan_to_num(0).clamp(0, 1) @ weights.T + constants).unbind(-1)
    columns = frame.new_tensor([[1, 2, 1], [1, 2, 1]]).view(1, 1, 2, 3) / 8
    halved = (
        F.conv2d(F.pad(plane[None, None], (1, 1, 0, 0), "replicate"), columns, stride=2)[0, 0] for plane in (cb, cr)
    )
    return tuple(plane.round().clamp(0, 255).byte() for plane in (luma, *halved))


def row(frames):
    """Returns how long each peer takes, and how near to the source it comes."""
    peers = Peers(frames)
    peers.prepare()
    runs = {"floor": peers.floor, "ours": peers.ours, "core": peers.core}
    if shutil.which("ffmpeg"):
        runs |= {"ffmpeg": peers.ffmpeg, "ffmpeg from the same frames": peers.ffmpeg_from_float}
    quality = {name: psnr(runs[name](), frames, matrix) for name, matrix in MATRICES.items()}
    timing = harness.alternate(runs, runs=5)
    found = {"seconds": round(timing["ours"].seconds, 2)}
    for name, taken in timing.items():
        if name != "ours":
            found[f"time ratio to {name}"] = round(timing["ours"].seconds / taken.seconds, 3)
        if name in ("core", "floor"):  # ffmpeg's processor time is that of another process
            found[f"processor time ratio to {name}"] = round(timing["ours"].cpu / taken.cpu, 3)
    for name, planes in quality.items():
        found |= {f"PSNR {plane} dB {name}": round(float(value), 2) for plane, value in planes.items()}
    shutil.rmtree(peers.folder)
    return found


if __name__ == "__main__":
    main()
