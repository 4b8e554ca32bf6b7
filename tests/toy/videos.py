"""Videos as other programs write them: uneven times, other pixels, colours and sounds, made on the spot."""

from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np

SIZE = (96, 64)  # width and height
MATRICES = {"bt709": (0.2126, 0.0722), "smpte170m": (0.299, 0.114), "bt2020nc": (0.2627, 0.0593)}
BT709 = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709", "color_range": "tv"}
PQ = {"colorspace": "bt2020nc", "color_primaries": "bt2020", "color_trc": "smpte2084", "color_range": "tv"}
INTERLACED = 0x00040000 | 0x20000000  # FFmpeg's flags for its DCT and motion
HLG = {**PQ, "color_trc": "arib-std-b67"}


class Voice(NamedTuple):
    """A sound track: a tone per channel, the first of `pitch` Hz, each further one as much higher."""

    codec: str = "aac"
    layout: str = "stereo"
    start: float = 0.0
    seconds: float = 1.0
    pitch: int = 200
    language: str = ""


def planes(rgb, matrix, bits=8, full=False):
    """Y, Cb and Cr of a colour as whole numbers."""
    (kr, kb), (red, green, blue) = MATRICES[matrix], rgb
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))
    if full:
        top = 2**bits - 1
        return [round(luma * top), *(round(value * top + 2 ** (bits - 1)) for value in chroma)]
    level = 2 ** (bits - 8)
    return [round((16 + 219 * luma) * level), *(round((128 + 224 * value) * level) for value in chroma)]


def make(
    path,
    times=range(16),
    tick=Fraction(1, 16),
    rate=16,
    codec="libx264",
    pix_fmt="yuv420p",
    rgb=(0.8, 0.5, 0.4),
    matrix="bt709",
    full=False,
    aspect=Fraction(0),
    voices=(),
    last=1,
    tag=None,
    size=SIZE,
    picture=None,
    interlaced=False,
    **options,
):
    """Writes a video whose frame `n` is due at `times[n]` ticks, each a little darker than the one before."""
    bits = 10 if "10" in pix_fmt else 8
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        context = stream.codec_context
        quiet = {"x265-params": "log-level=error"} if codec == "libx265" else {}
        stream.options = {"crf": "4", **quiet, **(BT709 if matrix == "bt709" else {}), **options}
        context.max_b_frames = 0  # or the last frames would last as long as those before them in the file
        context.time_base, context.sample_aspect_ratio = tick, aspect
        context.flags |= INTERLACED if interlaced else 0
        context.codec_tag = tag or context.codec_tag
        tracks = [(voice, file.add_stream(voice.codec, rate=48_000, layout=voice.layout)) for voice in voices]
        for voice, track in tracks:
            track.metadata.update({"language": voice.language} if voice.language else {})
        for number, time in enumerate(times):
            codes = planes([value * (1 - 0.02 * number) for value in rgb], matrix, bits, full)
            frame = filled(av.VideoFrame(*size, pix_fmt), codes, picture)
            frame.pts, frame.time_base = time, tick
            file.mux(stream.encode(frame))
        for packet in stream.encode(None):
            packet.duration = last if packet.pts == list(times)[-1] else packet.duration
            file.mux(packet)
        for voice, track in tracks:
            file.mux(track.encode(tone(voice)))
            file.mux(track.encode(None))
    return path


def filled(frame, codes, picture):
    """Gives each plane of a frame one value, and its luma a picture if there is one."""
    for plane, code in zip(frame.planes, codes, strict=True):
        np.frombuffer(memoryview(plane), np.uint16 if max(codes) > 255 else np.uint8)[:] = code
    if picture is not None:
        luma = frame.planes[0]
        np.frombuffer(memoryview(luma), np.uint8).reshape(luma.height, -1)[:, : luma.width] = picture
    return frame


def tone(voice):
    count = av.AudioLayout(voice.layout).nb_channels
    moments = np.arange(int(48_000 * voice.seconds)) / 48_000
    waves = [0.3 * np.sin(2 * np.pi * voice.pitch * (channel + 1) * moments) for channel in range(count)]
    sound = av.AudioFrame.from_ndarray(np.stack(waves).astype(np.float32), format="fltp", layout=voice.layout)
    sound.sample_rate = 48_000
    sound.pts, sound.time_base = round(voice.start * 48_000), Fraction(1, 48_000)
    return sound


def turn(path, matrix):
    """Writes a display matrix, (a, b, c, d), into the first track of an MP4."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44  # version 0: 4 bytes of type, then 40 of fields
    (a, b, c, d), one = matrix, 1 << 16
    values = [a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30]
    data[at : at + 36] = b"".join((value & 0xFFFFFFFF).to_bytes(4, "big") for value in values)
    path.write_bytes(data)
    return path


class Seen(NamedTuple):
    """What a player sees and hears of a file."""

    times: list  # seconds at which frames are due
    seconds: Fraction  # of the video
    luma: list  # mean of each frame
    sounds: list  # codec, layout, start in seconds, strongest frequency of each channel, language
    stream: dict


def see(path):
    """Plays a file."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        context = stream.codec_context
        frames = list(file.decode(stream))
        facts = {
            "aspect": stream.sample_aspect_ratio,
            "rate": stream.average_rate,
            "colours": (context.colorspace, context.color_primaries, context.color_trc, context.color_range),
            "pix_fmt": context.pix_fmt,
            "size": (frames[0].width, frames[0].height),
        }
        times = [frame.pts * frame.time_base for frame in frames]
        luma = [luma_of(frame) for frame in frames]
        seconds = (stream.duration or 0) * stream.time_base
        count = len(file.streams.audio)
    return Seen(times, seconds, luma, [hear(path, number) for number in range(count)], facts)


def luma_of(frame):
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
    return float(rows[:, : plane.width].mean())


def hear(path, number):
    with av.open(str(path)) as file:
        stream = file.streams.audio[number]
        pieces = list(file.decode(stream))
        wave = np.concatenate([piece.to_ndarray() for piece in pieces], axis=1)
        spectra = np.abs(np.fft.rfft(wave[:, 4800 : 4800 + 24_000]))
        peaks = [int(peak) * 2 for peak in spectra.argmax(1)]  # half a second: bins of 2 Hz
        start = float(pieces[0].pts * pieces[0].time_base)
        return stream.codec_context.name, stream.layout.name, start, peaks, stream.language
