"""Studies as people keep them: tables out of a spreadsheet program, files of any name, and what is no name at all."""

import json
import os

import pytest
from pack.client.batch import plan, store, study
from pack.client.errors import UsageError
from PIL import Image

TURBO = 'graphs = ["wan22_turbo_i2v"]\n'
ROWS = "graph,picture,seed,prompt\r\nwan22_turbo_i2v,a.png,1,Ein Kätzchen\r\nwan22_turbo_i2v,b.png,2,\r\n"


@pytest.fixture
def planned(tmp_path):
    """Writes a study, in any bytes, and returns its jobs."""
    for name, colour in (("a.png", "red"), ("b.png", "blue")):
        Image.new("RGB", (8, 8), colour).save(tmp_path / name)

    def read(content, name="jobs.csv", graph=""):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return list(plan.jobs(study.read(path, graph), {}, plan.bytes_digest))

    return read


def told(jobs):
    return [(job.graph, job.picture, job.seed, job.prompt if job.seed == 1 else "") for job in jobs]


SPREADSHEETS = {
    "UTF-8 with its mark": b"\xef\xbb\xbf" + ROWS.encode(),
    "semicolons": ROWS.replace(",", ";").encode(),
    "tabs": ROWS.replace(",", "\t").encode(),
    "lines of an old Mac": ROWS.replace("\r\n", "\r").encode(),
    "spaces around": ROWS.replace(",", "  ,  ").encode(),
    "empty columns and rows": ROWS.replace("\r\n", ",,\r\n").encode() + b",,,,,\r\n" + b"\r\n",
    "spaces before quotes": ROWS.replace("a.png", ' "a.png"').replace("Ein Kätzchen", ' "Ein Kätzchen"').encode(),
    "quotes": ROWS.replace("a.png", '"a.png"').encode(),
}


@pytest.mark.parametrize("content", SPREADSHEETS.values(), ids=SPREADSHEETS)
def test_a_table_is_the_same_however_a_spreadsheet_program_writes_it(planned, content):
    expected = [("wan22_turbo_i2v", "a.png", 1, "Ein Kätzchen"), ("wan22_turbo_i2v", "b.png", 2, "")]
    assert told(planned(content)) == expected


def test_a_prompt_may_hold_what_stands_between_cells(planned):
    (job,) = planned('graph,picture,prompt\nwan22_turbo_i2v,a.png,"One; two, ""three"".\nFour."\n')
    assert job.prompt == 'One; two, "three".\nFour.'


@pytest.mark.parametrize("last", ["", "\r\n"])
def test_a_quotation_mark_that_is_not_closed_takes_no_rows_into_a_prompt(planned, last):
    with pytest.raises(UsageError, match=r"In the table, a quotation mark before a cell has none behind that\. Add it"):
        planned(ROWS.replace("Ein", '"Ein').rstrip() + last)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_a_table_in_other_letters_says_how_to_save_it(planned, encoding):
    with pytest.raises(UsageError, match=r"letters are not UTF-8\. Save it as UTF-8, which Excel calls 'CSV UTF-8'\."):
        planned(ROWS.encode(encoding))


def test_a_study_may_begin_with_the_mark_of_utf_8_and_end_its_lines_as_windows_does(planned):
    assert told(planned(f'\ufeffpictures = ["a.png"]\r\n{TURBO}'.replace("\n", "\r\n"), "study.toml"))


NAMES = ["a [1].png", "eine Katze*.png", "小猫 在 窗边?.png", "{b}.png", "!c.png", "[ab].png"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_picture_may_be_called_as_a_pattern_is_and_lie_in_such_a_folder(planned, tmp_path):
    folder = tmp_path / "my [old] *pics"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_bytes(name.encode())
    for name in NAMES:  # and the patterns that they would be mean others, or nothing
        for written in (f"{folder.name}/{name}", str(folder / name)):
            (job,) = planned(f"pictures = [{json.dumps(written)}]\n{TURBO}", "study.toml")
            assert job.picture == name
    assert len(planned(f'pictures = ["{folder.name}/*.png"]\n{TURBO}', "study.toml")) == len(NAMES)


def test_folders_of_a_whole_path_may_be_patterns(planned, tmp_path):
    for name in ("one", "two"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / f"{name}.png").write_bytes(name.encode())
    for pattern in (
        "in/*/*.png",
        f"{tmp_path.as_posix()}/in/*/*.png",
        f"{tmp_path.as_posix()}/**/t[w]o.png",
        "./**/one.png",
    ):
        jobs = planned(f'pictures = ["{pattern}"]\n{TURBO}', "study.toml")
        assert {job.picture for job in jobs} <= {"one.png", "two.png"}
        assert len(jobs) == pattern.count("*.png") + 1


NO_STUDY = {
    "a folder": ('pictures = ["in"]', r"The study finds no picture 'in' in "),
    "nobody's home": ('pictures = ["~nobody-is-called-so/*.png"]', r"finds no picture '~nobody-is-called-so/\*\.png'"),
    "no name": (f'pictures = ["{"a" * 300}.png"]', r"The pictures 'a+\.png' cannot be looked for: File name too long"),
    "no number": (f"seeds = [{'1' * 5000}]", r"A study must be a TOML file that can be read; .+ is not: Exceeds"),
    "a well": (f"seeds = {'[' * 5000}", r"A study must be a TOML file that can be read; .+ is not: .+recursion"),
    "a way out": (
        'name = "../../elsewhere"',
        r"'name' is also what the folder of the results is called, so it is one line",
    ),
    "a way up": ('name = ".."', r"so it is one line, and no path, got '\.\.'"),
}


@pytest.mark.skipif(os.name == "nt", reason="Windows says it in other words")
@pytest.mark.parametrize(("text", "sentence"), NO_STUDY.values(), ids=NO_STUDY)
def test_what_is_no_study_is_a_sentence(planned, tmp_path, text, sentence):
    (tmp_path / "in").mkdir()
    with pytest.raises(UsageError, match=sentence):
        planned(f"{text}\n{TURBO}", "study.toml")


def test_a_graph_of_nobodys_and_a_variant_that_is_no_text_are_sentences(planned):
    with pytest.raises(UsageError, match=r"A prompt must be a JSON file that can be read"):
        planned("graph,picture\n~nobody-is-called-so/a.json,a.png\n")
    with pytest.raises(UsageError, match=r"Row 1 of jobs\.jsonl: The variant '.+' has letters that are no text"):
        planned('{"graph": "wan22_turbo_i2v", "picture": "a.png", "variant": "x\\ud800"}', "jobs.jsonl")


@pytest.mark.parametrize("letter", ["a", "я", "猫", "🐈"])
def test_a_clip_of_any_name_finds_room_on_a_disk(planned, tmp_path, letter):
    """Names of files have 255 bytes at most, whatever their letters take."""
    name = letter * (240 // len(letter.encode()))
    Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    (job,) = planned(
        f'pictures = ["{name}.png"]\n[[variants]]\nname = "{letter * 200}"\ngraph = "wan22_turbo_i2v"', "s.toml"
    )
    store.make(tmp_path)
    with store.keep(str(tmp_path), job.name) as kept:
        for number in range(2):
            kept.files.append(kept.folder / f"{number}.mp4")
            kept.files[-1].write_bytes(b"a clip")
    assert all((tmp_path / clip).read_bytes() == b"a clip" for clip in kept.clips)
    assert job.name.count(letter) >= 2 * 24 or letter == "🐈"
