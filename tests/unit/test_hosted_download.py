"""What counts as a whole clip: every frame of the file is there, whether an edit list shows it or not."""

import asyncio
import io
import os
from pathlib import Path

import av
import pytest
from pack.hosted import download
from pack.hosted.download import check_clip
from pack.hosted.errors import BrokenError
from pack.tests.toy.clip import clip
from pack.tests.toy.faults import sends
from pack.tests.toy.hosted import QUICK


@pytest.fixture
def edited(tmp_path):
    """A clip whose first frames are in the file and hidden by an edit list, as a cut without encoding makes it."""
    path = tmp_path / "edited.mp4"
    options = {"avoid_negative_ts": "disabled", "movflags": "faststart"}
    with av.open(io.BytesIO(clip())) as source, av.open(str(path), "w", options=options) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        early = round(0.5 / source.streams.video[0].time_base)
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is None:
                continue
            packet.pts, packet.dts, packet.stream = packet.pts - early, packet.dts - early, stream
            target.mux(packet)
    return path


def test_a_clip_with_hidden_frames_is_whole(edited):
    with av.open(str(edited)) as container:
        stream = container.streams.video[0]
        assert 0 < sum(1 for _ in container.decode(stream)) < stream.frames
    check_clip(edited)


@pytest.mark.parametrize("missing", [1, 40, 1000])
def test_a_clip_that_was_cut_short_is_not(missing, edited):
    edited.write_bytes(edited.read_bytes()[:-missing])
    with pytest.raises(BrokenError):
        check_clip(edited)
    edited.write_bytes(clip()[:-missing])
    with pytest.raises(BrokenError):
        check_clip(edited)


def test_a_part_that_windows_does_not_remove_hides_no_verdict(wavespeed, tmp_path, monkeypatch):
    def held(self, missing_ok=False):
        raise PermissionError(13, "The process cannot access the file")

    monkeypatch.setattr(Path, "unlink", held)
    url = f"{wavespeed.origin}/files/nothing.mp4"
    with pytest.raises(BrokenError, match="The address of the clip answers"):
        asyncio.run(download.fetch(url, tmp_path / "a.mp4", wavespeed.origin, QUICK))
    assert not (tmp_path / "a.mp4").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows limits no sizes of files")
@pytest.mark.parametrize("most", [1, 1000])
def test_a_disk_without_room_is_no_broken_connection(most, wavespeed, tmp_path):
    import resource

    wavespeed.break_next("download", sends(clip)(wavespeed))
    url = f"{wavespeed.origin}/files/whole.mp4"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        with pytest.raises(BrokenError, match=r"could not be written to the disk .*\(File too large\).*it is paid"):
            asyncio.run(download.fetch(url, tmp_path / "a.mp4", wavespeed.origin, QUICK))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
