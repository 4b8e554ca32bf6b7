"""Save MP4 and the file behind a VIDEO: copied if it fits, else encoded frame by frame; what changes is said."""

import logging
from fractions import Fraction
from io import BytesIO
from typing import Any, NamedTuple

import comfy.utils
from comfy_api.latest import InputImpl, io

from ..media import audio_reading, losses, remux, video_reading
from ..media.audio import Sound
from ..media.resolution import Size
from ..media.video_reading import WHOLE, Window
from .metadata import notes
from .saving import SaveSettings, even_size, next_target, note_on_size, open_writer, step

logger = logging.getLogger(__name__)

TRIM = "_VideoFromFile__start_time", "_VideoFromFile__duration"  # of ComfyUI before 0.26, which does not tell
MICRO = 1_000_000


class VideoFile(NamedTuple):
    """The file behind a VIDEO, and the part of it that was chosen."""

    source: str | BytesIO
    window: Window


def file_of(video: Any) -> VideoFile | None:
    """Returns the file behind ComfyUI's VIDEO; None of frames, and of what another pack makes of a file."""
    ours = InputImpl.VideoFromFile
    if not isinstance(video, ours) or type(video).get_components is not ours.get_components:
        return None
    source = video.get_stream_source()
    return VideoFile(source, window_of(video, source))


def window_of(video: Any, source: str | BytesIO) -> Window:
    """Returns the part of its file that a VIDEO shows."""
    if not is_trimmed(video, source):
        return WHOLE
    if hasattr(video, "get_active_trim_window"):
        start, duration = video.get_active_trim_window()
    else:
        start, duration = (getattr(video, name, 0) for name in TRIM)
        if start < 0:  # counted from the end
            start = max(InputImpl.VideoFromFile(source).get_duration() + start, 0)
    start, duration = (Fraction(value).limit_denominator(MICRO) for value in (start, duration))
    return Window(start, duration or None)


def is_trimmed(video: Any, source: str | BytesIO) -> bool:
    """Returns whether a VIDEO shows less than its file; ComfyUI before 0.26 does not tell."""
    try:
        return video.get_duration() != InputImpl.VideoFromFile(source).get_duration()
    except ValueError:  # the file does not say how long it is
        return True


def why_encoded(file: VideoFile, codec: str, always: bool, keep_sound: bool) -> str | None:
    """Returns why copying a file would not give what encoding it does, or None."""
    if always:
        return "always_encode is on"
    if file.window != WHOLE:
        return "a part of it was chosen"
    return remux.misfit(file.source, codec, keep_sound)


def save_file(file: VideoFile, settings: SaveSettings, always: bool, remarks: list[str], hidden: Any) -> io.NodeOutput:
    """Saves the file behind a VIDEO under a new name with this graph's metadata.

    Args:
        settings: Their sound replaces the video's own.
        always: Whether a file that fits is encoded, too.
        remarks: What else is to be said about the clip.

    Raises:
        ValueError: A video has no such sound, or there is no frame.
    """
    reason = why_encoded(file, settings.codec, always, keep_sound=not settings.sound)
    if reason is None:
        logger.info("The video is copied without encoding it again; its quality stays, crf is not used.")
        said = ["Copied without encoding again: crf was not used.", *losses.notes_on_streams(file.source)]
        if not settings.sound:
            said += audio_reading.notes_on(file.source, copied=True)
        return _copy(file.source, settings, [*said, *remarks], hidden)
    logger.info("The video is encoded again: %s.", reason)
    return _encode(file, settings, [f"Encoded again: {reason}.", *remarks], hidden)


def _copy(source: str | BytesIO, settings: SaveSettings, said: list[str], hidden: Any) -> io.NodeOutput:
    size, frames = Size(*InputImpl.VideoFromFile(source).get_dimensions()), remux.frame_count(source)
    target = next_target(settings.filename_prefix, size)
    clip = target.next_name(".mp4")
    facts = {"width": size.width, "height": size.height, "copied": True}
    text = notes(settings.metadata, hidden, facts, settings.numbers or "")
    bar = comfy.utils.ProgressBar(frames)
    remux.copy_mp4(source, clip, text, settings.sound, on_frame=lambda: step(bar))
    return target.output(clip, said)


def _encode(file: VideoFile, settings: SaveSettings, said: list[str], hidden: Any) -> io.NodeOutput:
    sound = settings.sound
    own: list[Sound] = [] if sound else audio_reading.sounds_of(*file)
    pictures = video_reading.look(*file, audio_reading.start_of(own))
    said += losses.notes_on_encoding(file.source, settings.codec) + losses.notes_on_streams(file.source)
    said += [] if sound else audio_reading.notes_on(file.source, own)
    size = even_size(pictures.size)
    said += note_on_size(pictures.size)
    target = next_target(settings.filename_prefix, size)
    clip = target.next_name(".mp4")
    heard: list[Sound] = [sound] if sound else audio_reading.counted_from(own, pictures.zero)
    bar = comfy.utils.ProgressBar(pictures.count)
    times = {"aspect": pictures.aspect, "tick": pictures.tick}
    with open_writer(clip, size, settings._replace(fps=pictures.rate), heard, hidden, **times) as writer:
        for frame, time, duration in video_reading.frames(pictures):
            writer.write(frame[: size.height, : size.width], time, duration)
            step(bar)
    return target.output(clip, said)
