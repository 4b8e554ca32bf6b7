"""Fetches a finished clip, from public https addresses only, and makes sure that it is a whole one.

Two kilobytes can promise hours of work: pictures of 100 megapixels, a billion frames, an index larger than the memory.
So what a file promises is read first, then its header, then its frames: each within the limits of the step before.
"""

import array
import asyncio
import socket
import sys
import time
import urllib.parse
from pathlib import Path
from typing import IO

import aiohttp
import av
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from av.container import InputContainer
from av.error import FFmpegError
from yarl import URL

from ..common.address import is_public, may_be_public
from ..common.files import atomic_write
from .errors import BrokenError, DownloadError
from .transport import Timing

MAX_CLIP = 256_000_000  # bytes; eight seconds at 1080p are a tenth of that
REDIRECTS = 3
_PIECE = 1 << 16

# A clip of today's models has at most 1920x1080 pixels and some 240 frames.
MAX_PIXELS = 2560 * 1440  # of a frame
MAX_SIDE = 4096
MAX_FRAMES = 900
MAX_LENGTH = 60.0  # seconds
MAX_WORK = 1_300_000_000  # pixels of all frames together; ten seconds of 1080p at 60 frames a second
MAX_SECONDS = 120.0  # for the decoding
MAX_INDEX = 8_000_000  # bytes of a file that are neither picture nor sound
MAX_SAMPLES = 100_000  # that the index lists, of all tracks; the decoder keeps them all, once for each edit
MAX_PARTS = 16  # tables of tracks, two for each; tables of times, two for each; and entries of an edit list
THREADS = 4
_PAYLOAD = (b"mdat", b"free", b"skip", b"wide")
_LABEL = b"uuid"  # of the maker's own: where the clip comes from, with a picture perhaps; no decoder looks into it


class PublicResolver(AbstractResolver):
    """Resolves names to public addresses only. The connection goes to the very address that was looked at."""

    def __init__(self) -> None:
        self.names = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Returns the addresses of a name; DownloadError if one of them is not public."""
        found = await self.names.resolve(host, port, family)
        if not all(is_public(entry["host"]) for entry in found):
            raise DownloadError(_NOT_PUBLIC)
        return found

    async def close(self) -> None:
        """Ends the resolver."""
        await self.names.close()


_NOT_PUBLIC = (
    "A finished clip is fetched from public https addresses only, and the provider named another one. "
    "Nothing was fetched. Run again; if it stays, download the clip from your account there."
)


def check_address(url: str, trusted: str | None) -> URL:
    """Checks an address before anything connects to it, and returns what was checked: as the connection reads it.

    It writes full-width digits as plain ones, say, so that another reading would not see the same host.

    Args:
        trusted: The one origin that may be on this machine: the operator's own server.

    Raises:
        DownloadError: It is neither public https nor that origin.
    """
    try:
        parsed = URL(url)
        ours = bool(trusted) and parsed.origin() == URL(trusted or "")
    except ValueError:
        raise DownloadError(_NOT_PUBLIC) from None
    if parsed.user or not (ours or (parsed.scheme == "https" and may_be_public(parsed.raw_host or ""))):
        raise DownloadError(_NOT_PUBLIC)
    return parsed


async def fetch(url: str, target: Path, trusted: str | None, timing: Timing) -> None:
    """Downloads a clip and puts it in place when it is complete and can be decoded.

    Raises:
        BrokenError: It failed, and may not the next time.
        DownloadError: The address or the file is not one to take.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(target) as file:
        await _stream(url, file, trusted, timing)
        _write(file)
        await asyncio.to_thread(check_clip, Path(file.name))


async def _stream(url: str, file: IO[bytes], trusted: str | None, timing: Timing) -> None:
    limits = aiohttp.ClientTimeout(total=timing.download, sock_connect=timing.connect, sock_read=timing.stall)
    resolver = PublicResolver()
    connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True)
    try:
        async with aiohttp.ClientSession(connector=connector, timeout=limits) as session:
            for _ in range(REDIRECTS + 1):
                async with session.get(check_address(url, trusted), allow_redirects=False) as answer:
                    if answer.status not in (301, 302, 303, 307, 308):
                        await _take(answer, file)
                        return
                    url = urllib.parse.urljoin(url, answer.headers.get("Location", ""))
            raise BrokenError("The address of the clip leads from one to the next without an end. Run again.")
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        # The library's own text would show the signed address.
        raise BrokenError(
            f"The download of the clip broke off ({type(error).__name__}). Run again: it is paid."
        ) from None
    finally:
        await resolver.close()


def _write(file: IO[bytes], piece: bytes = b"") -> None:
    """Writes a piece, and with an empty one all that waits: a full disk is no broken connection."""
    try:
        file.write(piece)
        if not piece:
            file.flush()
    except OSError as error:
        raise BrokenError(
            f"The clip could not be written to the disk of ComfyUI's temp folder ({error.strerror}). "
            "Make room there, and run again: it is paid."
        ) from None


async def _take(answer: aiohttp.ClientResponse, file: IO[bytes]) -> None:
    if answer.status != 200:
        raise BrokenError(f"The address of the clip answers {answer.status}. Run again: the clip is paid.")
    size = answer.content_length or 0
    async for piece in answer.content.iter_chunked(_PIECE):
        size = max(size, file.tell() + len(piece))
        if size > MAX_CLIP:
            break
        _write(file, piece)
    if size > MAX_CLIP:
        raise DownloadError(
            f"A clip may have {MAX_CLIP / 1e6:.0f} MB, and this one has {size / 1e6:.0f} MB or more. Nothing was kept. "
            "Download it from your account at the provider."
        )


def check_clip(path: Path) -> None:
    """Decodes a file to its end.

    Raises:
        BrokenError: It is no MP4, or not a whole one.
        DownloadError: It is larger or longer than a clip may be.
    """
    check_index(path)
    decoded = read = work = 0
    end = time.monotonic() + MAX_SECONDS
    try:
        with av.open(str(path), options={"max_pixels": str(MAX_PIXELS)}) as container:
            stream = _checked_stream(container)
            for packet in container.demux(stream):
                read += bool(packet.size and not packet.is_corrupt)
                for frame in packet.decode():
                    decoded += 1
                    work += frame.width * frame.height
                if max(decoded, read) > MAX_FRAMES or work > MAX_WORK or time.monotonic() > end:
                    raise _too_large("frames", f"more than {max(decoded, read)} that can be looked at")
            promised = stream.frames
    except (FFmpegError, IndexError, ValueError, MemoryError) as error:
        raise BrokenError(f"The clip cannot be decoded ({type(error).__name__}). Run again: it is paid.") from None
    # Not the decoded frames: an edit list may hide some of them, and then the clip is whole all the same.
    if not decoded or read < promised:
        raise BrokenError(f"The clip has {read} of its {promised} frames. Run again: it is paid.")


def is_sound(path: Path) -> bool:
    """Returns whether a file that is here already keeps the limits; its frames were decoded when it came."""
    try:
        check_index(path)
        with av.open(str(path), options={"max_pixels": str(MAX_PIXELS)}) as container:
            _checked_stream(container)
    except (DownloadError, FFmpegError, IndexError, OSError, ValueError, MemoryError):
        return False
    return True


def _checked_stream(container: InputContainer) -> av.VideoStream:
    stream = container.streams.video[0]
    context: av.VideoCodecContext | None = stream.codec_context
    if context is None:
        raise ValueError("no decoder knows it")
    width, height = context.width, context.height
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise _too_large("pixels", f"{width}x{height}")
    if stream.frames > MAX_FRAMES or stream.frames * width * height > MAX_WORK:
        raise _too_large("frames", f"{stream.frames} at {width}x{height}")
    seconds = max(
        float(container.duration or 0) / av.time_base, float((stream.duration or 0) * (stream.time_base or 0))
    )
    if seconds > MAX_LENGTH:
        raise _too_large("seconds", f"{seconds:.0f} s")
    context.thread_type, context.thread_count = "SLICE", THREADS  # threads for frames would keep errors to themselves
    context.options = {"max_pixels": str(MAX_PIXELS)}  # pictures may grow from one to the next
    return stream


def _too_large(what: str, got: str) -> DownloadError:
    limit = {
        "pixels": f"{MAX_PIXELS / 1e6:.1f} megapixels a frame and {MAX_SIDE} a side",
        "frames": f"{MAX_FRAMES} frames, and {MAX_WORK / 1e6:.0f} megapixels in all",
        "seconds": f"{MAX_LENGTH:.0f} s",
        "index": f"an index of {MAX_INDEX / 1e6:.0f} MB with {MAX_SAMPLES} samples",
    }[what]
    return DownloadError(
        f"A clip may have {limit}, and this one has {got}. Nothing was kept. "
        "Look at it in your account at the provider."
    )


def check_index(path: Path) -> None:
    """Checks what a file promises, before anything makes room for it.

    Raises:
        BrokenError: It is no MP4.
        DownloadError: It promises more than a clip may have.
    """
    index = _read_index(path)
    if index[4:8] != b"ftyp":
        raise BrokenError(
            f"What was downloaded is no MP4: its first bytes are {index[:8]!r}. Run again: the clip is paid."
        )
    # Wherever such a table stands: a reader that looks only in some places would miss what the decoder finds.
    samples = sum(_count(index, at + 12) for kind in (b"stsz", b"stz2") for at in _places(index, kind))
    samples += sum(_count(index, at + 8) for at in _places(index, b"trun"))
    edits = max((_count(index, at + 8) for at in _places(index, b"elst")), default=0)
    tracks = len(_places(index, b"trak")) + len(_places(index, b"stsd"))
    times = [at for kind in (b"stts", b"ctts") for at in _places(index, kind)]
    if max(edits, tracks, len(times)) > MAX_PARTS or b"cmov" in index:
        raise _too_large("index", "one of many parts, or a compressed one")
    repeated = max((_sum_of_runs(index, at) for at in times), default=0)  # each may be as long as the index
    if max(samples, repeated) > MAX_SAMPLES:
        raise _too_large("index", f"{max(samples, repeated)} samples")


def _read_index(path: Path) -> bytes:
    """Returns everything but pictures and sound: what the decoder reads before it decodes."""
    index, read, size = bytearray(), 0, path.stat().st_size
    with path.open("rb") as file:
        at = 0
        while at + 8 <= size:
            file.seek(at)
            head = file.read(16)
            length, kind = int.from_bytes(head[:4], "big"), head[4:8]
            if length == 1:
                length = int.from_bytes(head[8:], "big")
            if length < 8:  # 0: to the end; less: what comes is no box, and read to the end by nobody
                length = size - at
            length = min(length, size - at)
            read += 8 if kind in _PAYLOAD else length
            if read > MAX_INDEX:
                raise _too_large("index", "a larger one")
            file.seek(at)
            index += file.read(8 if kind in (*_PAYLOAD, _LABEL) else length)
            at += length
    return bytes(index)


def _places(index: bytes, kind: bytes) -> list[int]:
    found, at = [], index.find(kind)
    while at >= 0:
        found.append(at)
        at = index.find(kind, at + 4)
    return found


def _count(index: bytes, at: int) -> int:
    return int.from_bytes(index[at : at + 4], "big")


def _sum_of_runs(index: bytes, at: int) -> int:
    """Returns how many samples a table of runs (count, value) stands for."""
    entries = min(_count(index, at + 8), (len(index) - at - 12) // 8)
    runs = array.array("I", index[at + 12 : at + 12 + 8 * max(0, entries)])
    if sys.byteorder == "little":
        runs.byteswap()
    return sum(runs[::2])
