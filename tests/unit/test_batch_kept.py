"""What a study keeps of its own text, of pictures and of what servers say: no folder, no token and no camera."""

import io
import json

import pytest
from pack.client import address
from pack.client.batch import study, tables, thumbnails
from pack.client.batch.servers import Servers
from pack.client.errors import RefusedError
from pack.client.report.rows import read as report
from pack.tests.toy.studies import rows, run, servers, states, write
from PIL import Image


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ('pictures = ["/home/ada smith/My pics/*.jpg", "a/b.png"]', 'pictures = ["*.jpg", "a/b.png"]'),
        (r'x = "C:\\Users\\ada\\a b.png"', 'x = "a b.png"'),
        ("x = 'C:\\Users\\ada\\a b.png'", "x = 'a b.png'"),
        ('# batch /home/ada/x.toml ~/b.toml\nx = "~ada/c.png"', '# batch x.toml b.toml\nx = "c.png"'),
        ('x = "file:///home/ada/clips" # 2 / 3 and/or s3://b/x', 'x = "clips" # 2 / 3 and/or s3://b/x'),
        ('servers = ["https://ada:word@host:1/x?token=1"]', 'servers = ["https://host:1/x?***"]'),
        ("x = 1 # '/home/ada smith/a b.toml', 'or' and '/' or '/c'", "x = 1 # 'a b.toml', 'or' and '/' or '/c'"),
        ('graphs = ["../own/g.json"] # left/right, 1/2', 'graphs = ["../own/g.json"] # left/right, 1/2'),
    ],
)
def test_the_text_of_a_study_is_kept_without_folders_and_secrets(said, shown):
    assert tables.shown(said, study.tomllib.loads(said).values()) == shown


class Meanwhile(Servers):
    """Servers that somebody waits for who then saves another picture under the name of one."""

    def open(self, place, needs):
        found = super().open(place, needs)
        Image.new("RGB", (8, 8), "blue").save(self.picture)
        return found


def test_a_picture_that_is_changed_while_a_study_runs_is_not_sent_as_the_one_before(two, tmp_path):
    path, out = write(tmp_path, 4), tmp_path / "out"
    engine = Meanwhile([address.parse(two.addresses[0])], [1], 1.0, print)
    engine.picture = tmp_path / "0.png"
    with pytest.raises(RefusedError, match=r"2 jobs were refused"):
        run(path, out, engine)
    assert states(out) == {"refused": 2, "done": 2}
    assert list(report(out).thumbnails) == [json.loads(rows(out)[-1]["files"])["picture"]]  # not as the one before
    assert rows(out)[0]["error"] == (
        "0.png has changed since the study began. Run the same command again: what it makes of the picture as it is "
        "now is another job."
    )
    run(path, out, servers(two.addresses))
    assert [row["state"] for row in rows(out) if row["wanted"]] == ["done"] * 4
    assert two.made().total() == 4


def test_a_picture_that_is_changed_while_it_is_sent_is_not_sent_as_the_one_before(two, tmp_path):
    path, out, changed = write(tmp_path, 4), tmp_path / "out", tmp_path / "0.png"
    pages = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green")]
    pages[0].save(changed, save_all=True, append_images=pages[1:])  # something is said of it before it is sent

    def meanwhile(said):
        if "0.png holds 2 pictures." in said:
            pages[1].save(changed)

    engine = Servers([address.parse(two.addresses[0])], [1], 1.0, meanwhile)
    with pytest.raises(RefusedError, match=r"2 jobs were refused"):
        run(path, out, engine)
    assert states(out) == {"refused": 2, "done": 2}
    assert "0.png has changed since the study began." in rows(out)[0]["error"]


def test_numbers_of_a_server_have_names_that_can_be_shown_and_kept(two, tmp_path):
    for comfy in two.comfies:
        comfy.numbers = {"motion": 1.0, "\ud800\x1b[2Jodd\nname": 2.0}
    run(write(tmp_path, 2), tmp_path / "out", servers(two.addresses))
    assert [json.loads(row["numbers"]) for row in rows(tmp_path / "out")] == [{"motion": 1.0, "odd name": 2.0}] * 2


def test_thumbnails_are_small_and_say_nothing_of_the_camera(tmp_path):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a camera", 6  # which was held upright
    Image.new("RGB", (600, 300), "red").save(tmp_path / "a.jpg", exif=exif)
    made = Image.open(io.BytesIO(thumbnails.thumbnail(tmp_path / "a.jpg")))
    assert made.size == (64, 128)
    assert not made.getexif()
    (tmp_path / "b.png").write_bytes(b"no picture")
    assert thumbnails.thumbnail(tmp_path / "b.png") is None
    assert thumbnails.thumbnail(tmp_path / "none.png") is None


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (r"no such file: \\nas\ada\models\x.gguf", "no such file: x.gguf"),
        ("//nas/ada/models/x.gguf is broken", "x.gguf is broken"),
        ("error:/home/ada/x.py", "error:x.py"),
        ("see 's3://bucket/ada/x.mp4'", "see 's3://bucket/ada/x.mp4'"),
        ("https://ada:word@host/clip?token=1 and https://host/b#c", "https://host/clip?*** and https://host/b?***"),
        ("http://" * 2857, "http://" * 2857),  # in linear time
        (
            "ftp://ada:p@ss:w@rd@host/a, http://host/b@c and http://host?d@e",
            "ftp://host/a, http://host/b@c and http://host?***",
        ),
        ("see http://host, b@c.de", "see http://host, b@c.de"),
        ("http://" + "a@" * 20_000, "http://"),
    ],
)
def test_what_a_server_says_is_kept_without_its_folders_and_tokens(said, kept):
    assert tables.bare(said) == kept
