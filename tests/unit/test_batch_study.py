"""What a study may say, and what it means: jobs, their names and digests, and a sentence for all that cannot be."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from pack.client import prompts, settings
from pack.client.batch import command, graphs, plan, study
from pack.client.errors import UsageError
from pack.tests.toy.comfy_prompts import PROMPT

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    """A folder with three pictures, two of the same bytes, and a graph of one's own."""
    for name, content in (("a.png", b"a"), ("b.png", b"b"), ("also a.png", b"a")):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "own.json").write_text(json.dumps(PROMPT), encoding="utf-8")
    return tmp_path


@pytest.fixture
def planned(folder):
    """Writes a study, and returns its jobs."""

    def read(text, name="study.toml", graph=""):
        (folder / name).write_text(text, encoding="utf-8")
        return list(plan.jobs(study.read(folder / name, graph), {}, plan.bytes_digest))

    return read


FIRST_LAST = 'graphs = ["wan22_first_last_frame_i2v"]\n'
TURBO = 'pictures = ["a.png"]\ngraphs = ["wan22_turbo_i2v"]\n'


def test_everything_is_combined_with_everything_picture_by_picture(planned):
    jobs = planned(
        'pictures = ["a.png", "b.*"]\nprompts = ["One.", "Two."]\nseeds = [1, 2]\n'
        'graphs = ["wan22_turbo_i2v", "wan22_lightning_i2v"]\n[settings]\nsteps = [2, 4]\nseconds = 1'
    )
    assert len(jobs) == len({job.digest for job in jobs}) == len({job.name for job in jobs}) == 2 * 2 * 2 * 2 * 2
    assert [job.picture for job in jobs] == ["a.png"] * 16 + ["b.png"] * 16
    assert {job.variant for job in jobs} == {
        f"{graph} steps={steps}" for graph in ("wan22_turbo_i2v", "wan22_lightning_i2v") for steps in (2, 4)
    }
    assert {(job.prompt, job.seed, job.values["seconds"]) for job in jobs} == {
        (prompt, seed, 1) for prompt in ("One.", "Two.") for seed in (1, 2)
    }


def test_variants_have_their_own_settings_beside_those_of_all(planned):
    jobs = planned(
        'pictures = ["a.png"]\n[settings]\nseconds = 1\nsteps = 4\n'
        '[[variants]]\ngraph = "wan22_turbo_i2v"\n'
        '[[variants]]\nname = "soft"\ngraph = "wan22_lightning_i2v"\nsettings = { strength_high = [0.5, 1], steps = 8 }'
    )
    assert [(job.variant, job.values["steps"], job.values["seconds"]) for job in jobs] == [
        ("wan22_turbo_i2v", 4, 1),
        ("soft strength_high=0.5", 8, 1),
        ("soft strength_high=1", 8, 1),
    ]


def test_a_job_is_its_inputs_whatever_its_files_are_called(planned, folder):
    (job,) = planned(TURBO)
    (same,) = planned(TURBO.replace("a.png", "also a.png"))
    (spelled,) = planned(TURBO + "[settings]\nsteps = 4\ncfg = 1.0\nseed = 0")
    (other,) = planned(TURBO.replace("a.png", "b.png"))
    assert job.digest == same.digest == spelled.digest != other.digest
    assert job.name != same.name
    own = PROMPT | {"9": {**PROMPT["9"], "_meta": {"title": "Another title"}}}
    (folder / "titled.json").write_text(json.dumps(own), encoding="utf-8")
    (first,), (second,) = (planned(f'pictures = ["a.png"]\ngraphs = ["{name}.json"]') for name in ("own", "titled"))
    assert first.digest == second.digest


def test_seeds_go_to_every_seed_and_pictures_to_the_only_one(planned, folder):
    joined = (
        ROOT / "tests" / "data" / "graphs" / "0.1.0-alpha" / "api" / "wan22_long_clip_i2v.json"
    )  # with two samplers
    (folder / "two.json").write_text(joined.read_text(encoding="utf-8"), encoding="utf-8")
    (job,) = planned('pictures = ["a.png"]\nseeds = [5]\ngraphs = ["two.json"]')
    assert {name: value for name, value in job.values.items() if name.endswith("seed")} == {
        "first_part_rcm_sampler.seed": 5, "second_part_rcm_sampler.seed": 5,
    }  # fmt: skip
    assert job.seed == 5
    (job,) = planned(
        'graphs = ["wan22_first_last_frame_i2v"]\nsettings = {first_picture="a.png", last_picture="b.png"}'
    )
    assert sorted(job.shown().values()) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("jobs.csv", "picture,seed,steps,variant\r\na.png,1,2,few\r\n\r\nb.png,2,,\r\n"),
        (
            "jobs.jsonl",
            '{"picture": "a.png", "seed": 1, "steps": 2, "variant": "few"}\n\n{"picture": "b.png", "seed": 2}',
        ),
    ],
)
def test_a_table_has_one_job_a_row(planned, folder, name, text):
    jobs = planned(text, name, "wan22_turbo_i2v")
    assert [(job.picture, job.seed, job.values.get("steps"), job.variant) for job in jobs] == [
        ("a.png", 1, 2, "few"), ("b.png", 2, None, "wan22_turbo_i2v"),
    ]  # fmt: skip
    assert planned(f'jobs = "{name}"', graph="wan22_turbo_i2v") == jobs


def test_numbers_in_a_table_are_numbers_in_a_graph_of_ones_own(planned):
    (job,) = planned("graph,picture,seed,crf\nown.json,a.png,9007199254740993,20\n", "jobs.csv")
    assert job.values == {"picture": job.values["picture"], "seed": 9007199254740993, "crf": 20}


@pytest.mark.parametrize("user", ["", "ada:secret@", "secret@"])
def test_what_may_be_a_token_is_in_no_row_and_no_name(planned, user):
    (job,) = planned(
        'graphs = ["wan22_hosted_lora_i2v"]\npictures = ["a.png"]\n'
        f'settings = {{ "hosted_lora_high_noise.url" = "https://{user}host.example/a.safetensors?token=secret#also" }}'
    )
    assert "secret" not in json.dumps(job.shown()) + job.name
    assert job.shown()["hosted_lora_high_noise.url"] == "https://host.example/a.safetensors?***"
    assert "secret" in job.values["hosted_lora_high_noise.url"]


def test_what_may_be_a_token_is_in_no_name_of_a_variant(planned):
    jobs = planned(
        'graphs = ["wan22_hosted_lora_i2v"]\npictures = ["a.png"]\n[settings]\n'
        '"hosted_lora_high_noise.url" = ["https://a.example/x?token=secret1", "https://b.example/x?token=secret2"]'
    )
    assert [job.variant for job in jobs] == [
        f"wan22_hosted_lora_i2v hosted_lora_high_noise.url=https://{host}.example/x?***" for host in "ab"
    ]
    assert not any("secret" in job.variant + job.name for job in jobs)


def test_hosted_nodes_are_what_costs(planned):
    (job,) = planned('graphs = ["wan22_local_and_hosted_i2v"]\npictures = ["a.png"]\nsettings = { duration = 8 }')
    assert job.offers == (("WaveSpeed: wan-2.2/image-to-video", "720p", 8),)
    (job,) = planned(TURBO)
    assert job.offers == ()


BAD = [
    ('graphs = ["wan22_turbo_i2v"]', r"^Job 1 \(wan22_turbo_i2v\): It has no picture for 'picture'\. Name files in"),
    (TURBO.replace("a.png", "nobody*.png"), r"^The study finds no picture 'nobody\*\.png' in .+\. Check the path\.$"),
    (TURBO.replace("turbo", "tubro"), r"No prompt is called 'wan22_tubro_i2v'\. There is: wan22_turbo_i2v"),
    (TURBO + "[settings]\nstep = 3", r"The prompt has no input called 'step'\. Did you mean steps"),
    (TURBO + '[settings]\nschedule = "rmc"', r"schedule must be one of .+, got 'rmc'\. Did you mean rcm\?"),
    (TURBO + "[settings]\nsteps = []", r"The setting 'steps' lists no value"),
    (TURBO + "[settings]\nsteps = {}", r"'steps' takes a value or a list of values, got a table"),
    (TURBO + "[setings]\nsteps = 3", r"There is no 'setings' in study\.toml\. Did you mean settings\?"),
    (TURBO + 'seeds = [1, "2"]', r"'seeds' takes whole numbers from 0 on, got '2'"),
    (TURBO + "seeds = [1, 1]", r"Job 1 \(wan22_turbo_i2v\) and Job 2 \(wan22_turbo_i2v\) are the same: every input"),
    (TURBO + "seeds = [1]\n[settings]\nseed = 2", r"The study gives 'seed' twice: among its settings and as seeds"),
    (TURBO + "max_usd = -1", r"'max_usd' must be a sum of US dollars, got '-1'"),
    (TURBO + "tries = 0", r"'tries' takes whole numbers from 1 on, got '0'"),
    (TURBO + "[[variants]]\n[[variants]]", r"Two variants are called 'wan22_turbo_i2v'"),
    (TURBO + 'jobs = "x.csv"', r"takes its jobs from 'jobs' or makes them of pictures, and not both"),
    ('jobs = "x.csv"', r"The jobs must be in a file that can be read; .+x\.csv is not: No such file"),
    ('pictures = ["a.png"]', r"The study names no graph"),
    (TURBO + "[settings]\ncfg = nan", r"'cfg' takes numbers that are finite, got 'nan'"),
    ("pictures = [", r"A study must be a TOML file that can be read; .+ is not: "),
    (
        'graphs = ["wan22_first_last_frame_i2v"]\npictures = ["a.png"]',
        r"several pictures, first_picture and last_picture",
    ),
    (
        TURBO + "seeds = [" + "1," * 1001 + "]\nprompts = [" + '"x",' * 1000 + "]",
        r"at most 1000000 jobs, and this one has 1001000",
    ),
]


@pytest.mark.parametrize(("text", "sentence"), BAD, ids=[sentence[:40] for _, sentence in BAD])
def test_what_cannot_be_is_a_sentence(planned, text, sentence):
    with pytest.raises(UsageError, match=sentence):
        planned(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("seed\n1\n", r"Row 2 of jobs\.csv names no graph\. Add a column graph, or name one: --graph NAME\."),
        ("graph,seed\nwan22_turbo_i2v,1,2\n", r"Row 2 has more cells than the first line has names\."),
        (
            "graph,seeed,picture\nwan22_turbo_i2v,1,a.png\n",
            r"^Row 2 of jobs\.csv: The prompt has no input called 'seeed'",
        ),
        ("graph,seed\n", r"The file jobs\.csv holds no job\."),
        ("graph,seed, seed\nwan22_turbo_i2v,1,2\n", r"The first line names 'seed' twice\."),
        (
            "graph,picture,steps\nown.json,a.png,1e400\n",
            r"^Row 2 of jobs\.csv: steps must be a finite number, got '1e400'",
        ),
        ("graph,picture\nwan22_turbo_i2v,a.png\nwan22_turbo_i2v,also a.png\n", r"^Row 2 .+ and Row 3 .+ are the same"),
    ],
)
def test_what_cannot_be_in_a_table_is_a_sentence(planned, text, sentence):
    with pytest.raises(UsageError, match=sentence):
        planned(text, "jobs.csv")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"seed": 1, "seed": 2}', r"^Row 1 names 'seed' twice\."),
        ('{"steps": Infinity}', r"^'steps of Row 1 of jobs\.jsonl' takes numbers that are finite, got 'inf'"),
    ],
)
def test_what_cannot_be_in_a_line_of_json_is_a_sentence(planned, line, sentence):
    with pytest.raises(UsageError, match=sentence):
        planned(line, "jobs.jsonl", "own.json")


def test_the_largest_seed_of_comfyui_is_kept_as_it_is(planned, folder):
    jobs = planned(f'pictures = ["a.png"]\nseeds = [7, {2**64 - 1}]\ngraphs = ["own.json"]\n')
    with command.opened(folder / "out") as opened:
        opened.plan(jobs, {})
        assert [row["seed"] for row in opened.wanted()] == [7, str(2**64 - 1)]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_name_that_is_no_text_is_refused_as_is_such_a_prompt(planned, folder):
    Path(os.fsdecode(os.fsencode(folder) + b"/z\xff.png")).write_bytes(b"z")
    with pytest.raises(UsageError, match=r"The picture '.+/z\.png' has letters that are no text\. Rename the file"):
        planned(TURBO.replace("a.png", "z*.png"))
    with pytest.raises(UsageError, match=r"Row 1 of jobs\.jsonl: The prompt 'A cat' has letters that are no text"):
        planned('{"graph": "wan22_turbo_i2v", "picture": "a.png", "prompt": "A \\ud800cat"}', "jobs.jsonl")


def test_lines_that_are_no_json_and_files_of_other_kinds_are_refused(planned):
    with pytest.raises(UsageError, match=r"Row 2 must be a JSON object, and is not"):
        planned('{"graph": "wan22_turbo_i2v", "picture": "a.png"}\n{', "jobs.jsonl")
    with pytest.raises(UsageError, match=r"A study is a \.toml, \.csv or \.jsonl file, got study\.yaml\."):
        planned("", "study.yaml")


def graph_of(name, folder, measure=True):
    return graphs.load(name, folder, measure)


@pytest.mark.parametrize("name", prompts.names())
def test_a_graph_gets_a_clip_report_that_nobody_sets(folder, name):
    plain, with_report = graph_of(name, folder, measure=False), graph_of(name, folder)
    assert with_report.known == plain.known
    assert plain.prompt == prompts.load(name)
    added = {key: node for key, node in with_report.prompt.items() if key not in plain.prompt}
    savers = [key for key, node in plain.prompt.items() if node["class_type"] in graphs.SAVERS]
    if len(savers) > 1:  # whose clip would be meant is not known
        assert added == {}
        return
    ((key, node),) = added.items()
    assert node["class_type"] == "Wan22Turbo_ClipReport"
    assert node["inputs"]["video"] == [savers[0], 0]
    assert plain.prompt[node["inputs"]["reference"][0]]["class_type"] in ("Wan22Turbo_Resolution", "LoadImage")
    info = {
        each["class_type"]: {"input": {"required": {name: ["FLOAT", {}] for name in each["inputs"]}}}
        for each in with_report.prompt.values()
    }
    assert key not in {each.node_id for each in settings.settings_of(with_report.prompt, info)}


def test_a_graph_that_measures_already_or_saves_in_its_own_way_stays_as_it_is(folder):
    saves = {"9": {"class_type": "Wan22Turbo_SaveMp4", "inputs": {"video": ["7", 0]}}}
    for own in (PROMPT, {**saves, "1": {"class_type": "Wan22Turbo_ClipReport", "inputs": {"video": ["7", 0]}}}):
        (folder / "own.json").write_text(json.dumps(own), encoding="utf-8")
        assert graph_of("own.json", folder).prompt == own


def test_measure_is_true_or_false_and_makes_other_jobs(planned):
    (measured,), (plain,) = planned(TURBO), planned(f"measure = false\n{TURBO}")
    assert measured.digest != plain.digest
    with pytest.raises(UsageError, match="'measure' must be true or false, got '1'"):
        planned(f"measure = 1\n{TURBO}")


def test_a_job_knows_the_bytes_of_its_pictures(planned):
    (one,) = planned(TURBO)
    assert one.files == {"picture": hashlib.sha256(b"a").hexdigest()}
