"""MP4 files that play everywhere: encoded as the frames arrive, and published whole or not at all."""

import math
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.codec.codec import UnknownCodecError
from av.container import OutputContainer
from av.error import FFmpegError

from .audio import Audio, clean_audio
from .colour import TAGS, rgb_to_yuv420
from .resolution import FPS, Size

MIN_SIDE = 16  # pixels; some encoders refuse less
FPS_RANGE = (1, 240)
AAC_FALLBACK_RATE = 48_000  # Hz, for audio at a rate that AAC does not know


@dataclass(frozen=True)
class Codec:
    """A video codec, and how to ask FFmpeg for it."""

    label: str
    encoder: str
    crf: range
    options: Mapping[str, str] = field(default_factory=dict)
    tag: str | None = None


CODECS = {
    # CRF 0 is lossless, in a profile that browsers and phones do not play.
    "h264": Codec("H.264", "libx264", range(1, 52), {"preset": "medium"}),
    # QuickTime plays H.265 only under the tag hvc1.
    "h265": Codec("H.265", "libx265", range(1, 52), {"preset": "medium", "x265-params": "log-level=error"}, "hvc1"),
    "av1": Codec("AV1", "libsvtav1", range(1, 64), {"preset": "8"}),
}


class Mp4Writer:
    """Writes an MP4, one frame at a time.

    A context manager. Leaving the block normally finishes the file and puts it at `path`, replacing what was
    there. Leaving it by an exception, an interrupt included, leaves nothing. Until then the data is in a hidden
    file beside `path`. Memory does not grow with the number of frames.

        with Mp4Writer(path, Size(1280, 720), metadata={"workflow": json.dumps(workflow)}) as video:
            for frame in frames:
                video.write(frame)

    Args:
        path: Of the finished file. Its folder must exist.
        size: Of every frame; both sides even and at least 16.
        fps: Frames per second, 1 to 240, constant; taken as the nearest fraction with a denominator up to 1001.
        codec: A key of `CODECS`.
        crf: Constant rate factor in the codec's range; lower is better and larger.
        metadata: Text by key, stored in the file under these very keys.
        audio: Encoded as AAC. It is cut where the video ends; a shorter one ends early.

    Raises:
        ValueError: One of the above does not hold, or the block ends without a frame.
        RuntimeError: The local FFmpeg libraries lack the encoder, or it refuses the size.
        OSError: The folder cannot be written to, or the disk is full.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        size: Size,
        fps: Fraction | float = FPS,
        codec: str = "h264",
        crf: int = 18,
        metadata: Mapping[str, str] | None = None,
        audio: Audio | None = None,
    ) -> None:
        self.path = Path(path).absolute()
        self.size = _check_size(Size(*size))
        self.fps = _check_fps(fps)
        self.codec, self.crf = _check_codec(codec, crf)
        self.metadata = dict(metadata or {})
        self.audio = clean_audio(audio) if audio else None
        self.frames = 0
        self._samples = 0

    def __enter__(self) -> "Mp4Writer":
        with ExitStack() as stack:
            self._container = stack.enter_context(_publish(self.path, self.fps))
            self._container.metadata.update(self.metadata)
            self._video = self._add_video()
            self._sound = self._add_sound(self.audio) if self.audio else None
            self._open_encoders()
            self._stack = stack.pop_all()
        return self

    def write(self, frame: Any) -> None:
        """Encodes the next frame.

        Args:
            frame: float[H, W, 3], RGB in [0, 1]: an array, or anything that NumPy takes for one (a CPU tensor).

        Raises:
            ValueError: The frame is not of the video's size.
            OSError: The disk is full.
        """
        pixels = np.asarray(frame)
        got = Size(pixels.shape[1], pixels.shape[0]) if pixels.ndim == 3 else pixels.shape
        if got != self.size:
            raise ValueError(f"Every frame of this video is {self.size}, got {got}. Resize the frames first.")
        picture = _to_picture(pixels)
        picture.pts = self.frames
        picture.time_base = 1 / self.fps
        self.frames += 1
        self._encode(self._video, picture)
        self._write_sound()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            if not self.frames:
                raise ValueError("A video needs at least one frame, got none. Check what feeds it.")
            for stream in filter(None, (self._video, self._sound)):
                self._encode(stream, None)

    def _open_encoders(self) -> None:
        """Shows what an encoder refuses now, not when its first packet is due 40 frames later."""
        try:
            self._container.start_encoding()
        except ValueError as err:  # PyAV's name for FFmpeg's "invalid argument"; an OSError passes
            raise RuntimeError(
                f"The encoder {self.codec.encoder} here refuses {self.size}: {err}. Choose another codec or size."
            ) from err

    def _add_video(self) -> Any:
        stream = self._add_stream(self.codec.label, self.codec.encoder, self.fps)
        stream.width, stream.height = self.size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = 1 / self.fps
        stream.codec_context.thread_count = 0  # all cores
        if self.codec.tag:
            stream.codec_context.codec_tag = self.codec.tag
        stream.options = {**self.codec.options, **TAGS, "crf": str(self.crf)}
        return stream

    def _add_sound(self, audio: Audio) -> Any:
        known = av.Codec("aac", "w").audio_rates or []
        rate = audio.sample_rate if audio.sample_rate in known else AAC_FALLBACK_RATE  # FFmpeg resamples
        stream = self._add_stream("AAC", "aac", rate)
        stream.layout = audio.layout
        return stream

    def _add_stream(self, label: str, encoder: str, rate: Fraction | int) -> Any:
        try:
            return self._container.add_stream(encoder, rate=rate)
        except UnknownCodecError as err:
            raise RuntimeError(
                f"{label} needs the encoder {encoder}, which the FFmpeg libraries here lack. "
                "Choose another codec, or install PyAV from PyPI: pip install --force-reinstall av."
            ) from err

    def _write_sound(self) -> None:
        """Catches up with the video, so that both lie side by side in the file and end together."""
        if self.audio is None:
            return
        waveform, rate = self.audio
        start, end = self._samples, min(round(self.frames / self.fps * rate), waveform.shape[1])
        if start == end:
            return
        chunk = np.ascontiguousarray(waveform[:, start:end])
        sound = av.AudioFrame.from_ndarray(chunk, format="fltp", layout=self.audio.layout)
        sound.sample_rate = rate
        sound.pts, sound.time_base = start, Fraction(1, rate)
        self._samples = end
        self._encode(self._sound, sound)

    def _encode(self, stream: Any, frame: av.VideoFrame | av.AudioFrame | None) -> None:
        for packet in stream.encode(frame):
            self._container.mux(packet)


@contextmanager
def _publish(path: Path, fps: Fraction) -> Iterator[OutputContainer]:
    """Opens an MP4 under a temporary name, which becomes `path` when the block ends normally."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")  # hidden, and no gallery lists the ending
    try:
        temporary.touch()  # a missing or read-only folder shows here, by name
        container = av.open(str(temporary), "w", format="mp4", container_options=_muxer_options(fps))
        try:
            yield container
        except BaseException:
            with suppress(FFmpegError):  # the file goes; the first error is the one to report
                container.close()
            raise
        container.close()
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # on the disk before it has its name, or a power cut leaves an empty clip
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _muxer_options(fps: Fraction) -> dict[str, str]:
    return {
        # The index before the pixels, so that browsers play at once and ComfyUI, which reads 64 MiB, finds the
        # workflow; and keys that MP4 does not define.
        "movflags": "use_metadata_tags+faststart",
        # Ticks per second, a whole number to the frame; at FFmpeg's 1000 the duration would be cut to milliseconds.
        "movie_timescale": str(fps.numerator * math.ceil(1000 / fps.numerator)),
    }


def _to_picture(pixels: np.ndarray) -> av.VideoFrame:
    height, width, _ = pixels.shape
    picture = av.VideoFrame(width, height, "yuv420p")
    for plane, values in zip(picture.planes, rgb_to_yuv420(pixels), strict=True):
        padded = np.frombuffer(memoryview(plane), dtype=np.uint8).reshape(plane.height, plane.line_size)
        padded[:, : plane.width] = values
    return picture


def _check_size(size: Size) -> Size:
    if min(size) < MIN_SIDE or size.width % 2 or size.height % 2:
        raise ValueError(f"4:2:0 video needs even sides of at least {MIN_SIDE} pixels, got {size}. Resize the frames.")
    return size


def _check_fps(fps: Fraction | float) -> Fraction:
    slowest, fastest = FPS_RANGE
    if not slowest <= fps <= fastest:  # NaN fails every comparison
        raise ValueError(f"A video has {slowest} to {fastest} frames per second, got {fps}. Wan 2.2 makes {FPS}.")
    return Fraction(fps).limit_denominator(1001)  # 24000/1001 and its like are the finest in use


def _check_codec(name: str, crf: int) -> tuple[Codec, int]:
    if name not in CODECS:
        raise ValueError(f"Codec is one of {', '.join(CODECS)}, got '{name}'.")
    codec = CODECS[name]
    if crf not in codec.crf:
        best, worst = codec.crf[0], codec.crf[-1]
        raise ValueError(f"{codec.label} takes a CRF of {best} (best) to {worst}, got {crf}. Begin with 18.")
    return codec, crf
