"""MP4 files that play everywhere: encoded as the frames arrive, and published whole or not at all."""

import math
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from itertools import cycle
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError

from .audio import Audio, Copied, Sound, clean_audio
from .codecs import Codec, check_codec, explained, kept_scheduling
from .colour import TAGS, rgb_to_yuv420
from .finite import REMEDY, NotFiniteError
from .publish import Place, publish
from .resolution import FPS, Size

FPS_RANGE = (1, 240)
FINEST = 1001  # the largest denominator of a frame rate in use: 24000/1001 and its like
WAITING = 4  # frames converted and not yet encoded: 5.5 MB at 720p


class Mp4Writer:
    """Writes an MP4, one frame at a time.

    A context manager. Leaving the block normally finishes the file and puts it at `path`, if nobody is there by
    then. Leaving it by an exception, an interrupt included, leaves nothing. Until then the data is in a hidden
    file beside `path`. Memory does not grow with the number of frames.

        with Mp4Writer(path, Size(1280, 720), metadata={"workflow": json.dumps(workflow)}) as video:
            for frame in frames:
                video.write(frame)

    Frames are converted in the caller's thread and encoded in one of the writer's own, so that converting, or
    whatever makes the frames, does not wait for the encoder. An error of the encoder surfaces a few frames later.

    Args:
        path: Of the finished file, or a place whose name shows then. Its folder must exist.
        size: Of every frame; both sides even and at least the codec's least, 16 to 64.
        fps: Frames per second, constant; see `frame_rate`.
        codec: A key of `CODECS`.
        crf: Constant rate factor in the codec's range; lower is better and larger.
        metadata: Text by key, stored in the file under these very keys.
        audio: Encoded as AAC, or tracks of another file. Samples are cut where the video ends, unless they are
            `whole`; a shorter sound ends early.
        encoder: One of `ENCODERS`.
        aspect: Width of a pixel by its height.
        tick: Seconds; the unit of the times of frames, if they have times of their own. `fps` is their mean then.

    Raises:
        ValueError: One of the above does not hold, or the block ends without a frame.
        RuntimeError: The local FFmpeg libraries or the card lack the encoder, or it refuses the size.
        OSError: The folder cannot be written to, the disk is full, or there is such a file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | Place,
        size: Size,
        fps: Fraction | float = FPS,
        codec: str = "h264",
        crf: int = 18,
        metadata: Mapping[str, str] | None = None,
        audio: Sound | Sequence[Sound] | None = None,
        encoder: str = "cpu",
        aspect: Fraction | int = 1,
        tick: Fraction | None = None,
    ) -> None:
        self.place = path if isinstance(path, Place) else Place(path)
        self.codec = check_codec(codec, crf, encoder)
        self.size = _check_size(Size(*size), self.codec)
        self.fps = frame_rate(fps)
        self.encoder = self.codec.encoder(encoder)
        self.crf = crf
        self.metadata = dict(metadata or {})
        self.aspect = Fraction(aspect)
        self.tick = tick or 1 / self.fps
        self.own_times = tick is not None
        sounds = [audio] if isinstance(audio, Audio | Copied) else audio or ()
        self.sounds = [clean_audio(sound) if isinstance(sound, Audio) else sound for sound in sounds]
        self.frames = 0
        self._durations: dict[int, int] = {}  # of the frames that the encoder holds, by their times
        self._pending: deque[Future[None]] = deque()
        # Used in turn, those that wait and the one being made: to map new memory for each takes a tenth of its time.
        self._pictures = cycle([av.VideoFrame(*self.size, "yuv420p") for _ in range(WAITING + 1)])

    def __enter__(self) -> "Mp4Writer":
        with ExitStack() as stack:
            self._container = stack.enter_context(open_mp4(self.place, 1 / self.tick))
            self._container.metadata.update(self.metadata)
            self._video = self._add_video()
            self._tracks = [sound.track(self._container) for sound in self.sounds]
            self._open_encoders()
            self._thread = ThreadPoolExecutor(1, "mp4")
            stack.callback(self._thread.shutdown, cancel_futures=True)  # before the container closes
            self._stack = stack.pop_all()
        return self

    def write(self, frame: Any, time: int | None = None, duration: int = 1) -> None:
        """Hands over the next frame.

        Args:
            frame: float[H, W, 3], RGB in [0, 1]: an array, or anything that NumPy takes for one (a CPU tensor).
                It is read before this returns.
            time: In ticks from the beginning of the file, later than that of the frame before; None of even frames.
            duration: In ticks; it counts for the last frame, the others end where the next one begins.

        Raises:
            ValueError: The frame is not of the video's size.
            NotFiniteError: It holds NaN or infinity.
            OSError: The disk is full.
        """
        pixels = np.asarray(frame)
        got = Size(pixels.shape[1], pixels.shape[0]) if pixels.ndim == 3 else pixels.shape
        if got != self.size:
            raise ValueError(f"Every frame of this video is {self.size}, got {got}. Resize the frames first.")
        picture = next(self._pictures)
        try:
            _fill(picture, pixels)
        except NotFiniteError as err:
            place = f"frame {self.frames + 1}, {err.place}"
            text = f"There is {err.value} in {place}, which no video shows. No clip was written. {REMEDY}"
            raise NotFiniteError(text, err.value, place) from None
        picture.pts = self.frames if time is None else time
        picture.time_base = self.tick
        self.frames += 1
        self._end = (picture.pts + duration) * self.tick
        if self.own_times:
            self._durations[picture.pts] = duration
        self._pending.append(self._thread.submit(self._encode, picture, self._end))
        self._wait_for_all_but(WAITING)

    def discard(self) -> None:
        """Ends now and leaves no file; the block may go on without this writer."""
        with suppress(_Discarded), self._stack:
            raise _Discarded

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            if not self.frames:
                raise ValueError("A video needs at least one frame, got none. Check what feeds it.")
            self._wait_for_all_but(0)
            self._encode(None, self._end)
            for track in self._tracks:
                track.finish()

    def _wait_for_all_but(self, waiting: int) -> None:
        while len(self._pending) > waiting:
            self._pending.popleft().result()  # raises what the encoder raised

    def _encode(self, picture: av.VideoFrame | None, end: Fraction) -> None:
        for packet in self._video.encode(picture):
            if self.own_times:
                packet.duration = self._durations.pop(packet.pts, 1)
            self._container.mux(packet)
        for track in self._tracks:
            track.catch_up(end)

    def _open_encoders(self) -> None:
        """Raises what an encoder refuses now, not when its first packet is due 40 frames later."""
        with explained(self.codec, self.encoder, str(self.size)), kept_scheduling():
            self._container.start_encoding()

    def _add_video(self) -> Any:
        with explained(self.codec, self.encoder, str(self.size)):
            stream: Any = self._container.add_stream(self.encoder.name, rate=self.fps)
        stream.width, stream.height = self.size
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 0  # or PyAV asks for 1 Mbit/s, which an encoder on a card would hold to
        stream.codec_context.time_base = self.tick
        # In an MP4 a frame lasts until the next one in order of decoding, which must be that of time.
        if self.own_times:
            stream.codec_context.max_b_frames = 0
        if self.aspect != 1:
            stream.codec_context.sample_aspect_ratio = self.aspect
        stream.codec_context.thread_count = 0  # all cores
        stream.codec_context.codec_tag = self.codec.tag
        stream.options = {**self.encoder.options, **TAGS, self.encoder.quality: str(self.crf)}
        return stream


class _Discarded(BaseException):
    """Leaves the block of a writer whose file nobody wants."""


def frame_rate(fps: Fraction | float) -> Fraction:
    """Returns frames per second as the fraction that a video holds: the nearest with a denominator up to 1001.

    A rounded rate of television means that rate: 23.976 and 23.98 are 24000/1001, 29.97 is 30000/1001.

    Raises:
        ValueError: It is outside of 1 to 240.
    """
    slowest, fastest = FPS_RANGE
    if not slowest <= fps <= fastest:  # NaN fails every comparison
        raise ValueError(f"A video has {slowest} to {fastest} frames per second, got {fps}. Wan 2.2 makes {FPS}.")
    rate = Fraction(fps)
    if rate.denominator > FINEST:  # typed, or rounded by somebody
        television = Fraction(1000 * round(rate * 1001 / 1000), FINEST)
        if any(round(float(television), decimals) == float(fps) for decimals in range(2, 7)):
            return television
    return rate.limit_denominator(FINEST)


@contextmanager
def open_mp4(path: str | os.PathLike[str] | Place, fps: Fraction) -> Iterator[OutputContainer]:
    """Opens an MP4 that becomes `path` when the block ends normally, and vanishes when it does not.

    Raises:
        OSError: The folder is missing or cannot be written to, or there is no room.
    """
    with publish(path) as temporary:
        container = av.open(str(temporary), "w", format="mp4", container_options=muxer_options(fps))
        try:
            yield container
        except BaseException:
            with suppress(FFmpegError):  # the file goes; the first error is the one to report
                container.close()
            raise
        container.close()


def muxer_options(fps: Fraction) -> dict[str, str]:
    """Returns what FFmpeg is told about a file of so many frames per second."""
    return {
        # The index before the pixels, so that browsers play at once and ComfyUI, which reads 64 MiB, finds the
        # workflow; and keys that MP4 does not define.
        "movflags": "use_metadata_tags+faststart",
        # Ticks per second, a whole number to the frame; at FFmpeg's 1000 the duration would be cut to milliseconds.
        "movie_timescale": str(fps.numerator * math.ceil(1000 / fps.numerator)),
    }


def _fill(picture: av.VideoFrame, pixels: np.ndarray) -> None:
    """Writes a frame into a picture that may have been encoded before."""
    picture.make_writable()  # where an encoder still holds it, it gets other memory
    luma, cb, cr = (
        np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        for plane in picture.planes
    )
    rgb_to_yuv420(pixels, (luma, cb, cr))


def _check_size(size: Size, codec: Codec) -> Size:
    if min(size) < codec.min_side or size.width % 2 or size.height % 2:
        raise ValueError(
            f"{codec.label} video in 4:2:0 needs even sides of at least {codec.min_side} pixels, got {size}. "
            "Resize the frames."
        )
    return size
