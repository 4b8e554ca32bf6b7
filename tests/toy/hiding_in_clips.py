"""Clips with a canary in one of the many places where an MP4 can hold what nobody looks at."""

import json
import struct
from fractions import Fraction
from io import BytesIO
from typing import Any

import av
import numpy as np
from PIL import Image

from ...media.codecs import kept_scheduling
from .hiding_places import CANARY, GRAPH


def clip(codec: str = "libx264", **told: str) -> bytes:
    """Returns an MP4 of three frames that opens as a graph; its boxes end with moov, so that more may stand in that."""
    file = BytesIO()
    how = {"movflags": "use_metadata_tags"}
    with kept_scheduling(), av.open(file, "w", format="mp4", options=how) as container:  # else AV1's threads stay so
        stream = container.add_stream(codec, rate=16)
        stream.width = stream.height = 64
        container.metadata.update({"workflow": json.dumps(GRAPH), **told})
        for level in (40, 120, 200):
            picture = np.full((64, 64, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content


def into(content: bytes, path: str, added: bytes) -> bytes:
    """Returns a clip with something added at the end of a box, such as "moov.udta.meta"."""
    name, _, rest = path.partition(".")
    at = 0
    while at < len(content):
        size, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        if kind == name.encode():
            head = 12 if kind == b"meta" else 8
            inner = content[at + head : at + size]
            inner = into(inner, rest, added) if rest else inner + added
            grown = struct.pack(">I", head + len(inner)) + content[at + 4 : at + head] + inner
            return content[:at] + grown + content[at + size :]
        at += size
    raise AssertionError(f"no box {path}")


def with_units(codec: str, unit: bytes) -> bytes:
    """Returns a clip with a unit of its own before the first picture: an SEI, or an OBU of AV1 behind it."""
    source, target = av.open(BytesIO(clip(codec))), BytesIO()
    with source, av.open(target, "w", format="mp4", options={"movflags": "use_metadata_tags"}) as container:
        stream = container.add_stream_from_template(source.streams.video[0], opaque=True)
        container.metadata.update({"workflow": json.dumps(GRAPH)})
        for index, packet in enumerate(source.demux(video=0)):
            if packet.dts is None:
                continue
            data = bytes(packet)
            if index == 0:
                data = data + unit if codec == "libsvtav1" else struct.pack(">I", len(unit)) + unit + data
            made = av.Packet(data)
            made.pts, made.dts, made.duration, made.time_base = (
                packet.pts,
                packet.dts,
                packet.duration,
                packet.time_base,
            )
            made.is_keyframe, made.stream = packet.is_keyframe, stream
            container.mux(made)
    return target.getvalue()


def with_data() -> bytes:
    """Returns a clip with a stream of data that is the canary."""
    file = BytesIO()
    with av.open(file, "w", format="mp4", options={"movflags": "use_metadata_tags"}) as container:
        stream = container.add_stream("libx264", rate=16)
        stream.width = stream.height = 64
        container.metadata.update({"workflow": json.dumps(GRAPH)})
        data: Any = container.add_data_stream("bin_data")
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        packet = av.Packet(CANARY.encode())
        packet.pts, packet.dts, packet.time_base, packet.stream = 0, 0, Fraction(1, 16), data
        container.mux(packet)
        container.mux(stream.encode(None))
    return file.getvalue()


def with_settings() -> bytes:
    """Returns a clip with sound; the canary stands behind the settings of its decoder."""
    file = BytesIO()
    with av.open(file, "w", format="mp4", options={"movflags": "use_metadata_tags"}) as container:
        video, audio = container.add_stream("libx264", rate=16), container.add_stream("aac", rate=48000)
        video.width = video.height = 64
        container.metadata.update({"workflow": json.dumps(GRAPH)})
        container.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        container.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        sound.rate = 48000
        container.mux([*audio.encode(sound), *audio.encode(None)])
    made = BytesIO()
    with (
        av.open(BytesIO(file.getvalue())) as source,
        av.open(made, "w", format="mp4", options={"movflags": "use_metadata_tags"}) as container,
    ):
        container.metadata.update({"workflow": json.dumps(GRAPH)})
        streams = [container.add_stream_from_template(stream, opaque=True) for stream in source.streams]
        streams[1].codec_context.extradata = bytes(source.streams[1].codec_context.extradata) + CANARY.encode()
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                container.mux(packet)
    return made.getvalue()


def cover() -> bytes:
    """Returns a JPEG with the canary as its comment, in the box that covers are in."""
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", comment=CANARY)
    return box(b"covr", box(b"data", struct.pack(">II", 13, 0) + file.getvalue()))


def clips() -> dict[str, Any]:
    """Returns what makes a clip, by the place of the canary in it."""
    secret, uuid = CANARY.encode(), bytes(range(16))
    sei = b"\x06\x05" + bytes([16 + len(secret)]) + uuid + secret + b"\x80"  # user_data_unregistered
    obu = bytes([5 << 3 | 2, 2 + len(secret) + 1, 4, 0xB5]) + secret + b"\x80"  # metadata, ITU-T T.35
    hevc = b"\x4e\x01\x05" + bytes([16 + len(secret)]) + uuid + secret + b"\x80"
    return {
        "uuid at the end": lambda: clip() + box(b"uuid", uuid + secret),
        "XMP": lambda: clip() + box(b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + b"<x>" + secret),
        "free": lambda: clip() + box(b"free", secret),
        "skip": lambda: clip() + box(b"skip", secret),
        "wide": lambda: clip() + box(b"wide", secret),
        "behind the last box": lambda: clip() + secret,
        "zeros and more behind": lambda: clip() + bytes(64) + secret,
        "in UTF-16": lambda: clip() + box(b"free", CANARY.encode("utf-16-le")),
        "an unknown box": lambda: clip() + box(b"abcd", secret),
        "emsg": lambda: clip() + box(b"emsg", bytes(4) + secret),
        "moov": lambda: into(clip(), "moov", box(b"abcd", secret)),
        "moov.uuid": lambda: into(clip(), "moov", box(b"uuid", uuid + secret)),
        "moov.udta": lambda: into(clip(), "moov.udta", box(b"abcd", secret)),
        "moov.udta, QuickTime's name": lambda: into(clip(), "moov.udta", box(b"\xa9nam", b"\0\x19\0\0" + secret)),
        "moov.trak": lambda: into(clip(), "moov.trak", box(b"abcd", secret)),
        "moov.trak.udta": lambda: into(clip(), "moov.trak", box(b"udta", box(b"name", secret))),
        "moov.trak.mdia": lambda: into(clip(), "moov.trak.mdia", box(b"abcd", secret)),
        "moov.udta.meta": lambda: into(clip(), "moov.udta.meta", box(b"xml ", bytes(4) + secret)),
        "moov.udta.meta.ilst": lambda: into(
            clip(), "moov.udta.meta.ilst", box(b"----", box(b"data", bytes(8) + b"\1\2" + secret))
        ),
        "the name of a track": lambda: clip().replace(b"VideoHandler\0", (secret + bytes(13))[:13]),
        "the name of the compressor": lambda: named_compressor(secret),
        "mdat, beside its samples": lambda: with_gap(secret),
        "title": lambda: clip(title=CANARY),
        "comment": lambda: clip(comment=CANARY),
        "an unknown key": lambda: clip(mine=CANARY),
        "another key's name": lambda: clip(**{CANARY: "1"}),
        "SEI of H.264": lambda: with_units("libx264", sei),
        "SEI of H.265": lambda: with_units("libx265", hevc),
        "metadata of AV1": lambda: with_units("libsvtav1", obu),
        "cover": lambda: into(clip(), "moov.udta.meta.ilst", cover()),
        "a stream of data": with_data,
        "behind the settings of AAC": with_settings,
    }


def named_compressor(secret: bytes) -> bytes:
    """Returns a clip whose sample entry calls its compressor so: 32 bytes, the first of them the length."""
    content = bytearray(clip())
    at = content.index(b"avc1", content.index(b"stsd")) + 4 + 42
    content[at : at + 32] = bytes([len(secret)]) + secret.ljust(31, b"\0")
    return bytes(content)


def with_gap(secret: bytes) -> bytes:
    """Returns a clip in whose media data more stands than its samples; moov is last, so nothing else moves."""
    return into(clip(), "mdat", secret)
