"""Every schema against its own `execute`, and against the node contract that people's saved graphs rely on."""

import inspect

import pytest
from schemas import import_pack

pytestmark = pytest.mark.comfy

# node id -> display name, inputs with each widget's default, outputs with their types. `?` marks an optional socket.
# This table is the interface of the pack. Append to it with defaults; never rename, reorder or remove.
ANY_FILE = object()
CONTRACT = {
    "Wan22Turbo_Loader": (
        "Load Wan 2.2 I2V",
        {
            "high_noise": ANY_FILE,
            "low_noise": ANY_FILE,
            "text_encoder": ANY_FILE,
            "vae": ANY_FILE,
            "weight_dtype": "default",
        },
        {"high": "MODEL", "low": "MODEL", "clip": "CLIP", "vae": "VAE"},
    ),
    "Wan22Turbo_Lora": (
        "Load LoRA with Trigger Words",
        {
            "high": "MODEL",
            "low": "MODEL",
            "lora_high": ANY_FILE,
            "lora_low": "auto",
            "strength_high": 1.0,
            "strength_low": 1.0,
            "trigger_words": "",
            "trigger_position": "prepend",
            "prompt": "",
        },
        {"high": "MODEL", "low": "MODEL", "prompt": "STRING", "trigger_words": "STRING", "report": "STRING"},
    ),
    "Wan22Turbo_Resolution": (
        "Fit to 720p",
        {"image": "IMAGE", "tier": "720p", "aspect": "image", "fit": "crop"},
        {"image": "IMAGE", "width": "INT", "height": "INT", "report": "STRING"},
    ),
    "Wan22Turbo_ImageToVideo": (
        "Image to Video Latent",
        {
            "positive": "CONDITIONING",
            "negative?": "CONDITIONING",
            "vae": "VAE",
            "start_image": "IMAGE",
            "end_image?": "IMAGE",
            "seconds": 5.0,
        },
        {"positive": "CONDITIONING", "negative": "CONDITIONING", "latent": "LATENT", "frames": "INT"},
    ),
    "Wan22Turbo_Sampler": (
        "rCM Sampler",
        {
            "high": "MODEL",
            "low": "MODEL",
            "positive": "CONDITIONING",
            "negative?": "CONDITIONING",
            "latent": "LATENT",
            "seed": 0,
            "steps": 4,
            "schedule": "rcm",
            "mode": "ode",
            "cfg": 1.0,
            "sigma_max": 200.0,
            "shift": 5.0,
            "boundary": 0.9,
        },
        {"latent": "LATENT", "plan": "STRING"},
    ),
    "Wan22Turbo_RcmSigmas": ("rCM Sigmas", {"steps": 4, "sigma_max": 200.0}, {"sigmas": "SIGMAS"}),
    "Wan22Turbo_ExpertGuider": (
        "Two-Expert Guider",
        {
            "high": "MODEL",
            "low": "MODEL",
            "positive": "CONDITIONING",
            "negative?": "CONDITIONING",
            "cfg": 1.0,
            "boundary": 0.9,
        },
        {"guider": "GUIDER"},
    ),
    "Wan22Turbo_SaveMp4": (
        "Save MP4",
        {
            "video": "IMAGE,VIDEO",
            "audio?": "AUDIO",
            "fps": 16.0,
            "filename_prefix": "video/wan22-turbo",
            "codec": "h264",
            "crf": 18,
            "metadata": "workflow",
            "encoder?": "cpu",
            "always_encode?": False,
        },
        {"video": "VIDEO"},
    ),
    "Wan22Turbo_DecodeMp4": (
        "Decode to MP4",
        {
            "latent": "LATENT",
            "vae": "VAE",
            "audio?": "AUDIO",
            "fps": 16.0,
            "filename_prefix": "video/wan22-turbo",
            "codec": "h264",
            "crf": 18,
            "metadata": "workflow",
            "encoder?": "cpu",
            "keep_latent?": False,
        },
        {"video": "VIDEO"},
    ),
    "Wan22Turbo_HostedLora": (
        "Hosted LoRA",
        {"url": "", "scale": 1.0, "expert": "both", "trigger_words": "", "loras?": "WAN22TURBO_HOSTED_LORAS"},
        {"loras": "WAN22TURBO_HOSTED_LORAS"},
    ),
    "Wan22Turbo_Hosted": (
        "Hosted Wan 2.2 I2V",
        {
            "image": "IMAGE",
            "prompt": "",
            "model": ANY_FILE,
            "resolution": "480p",
            "duration": 5,
            "seed": 0,
            "negative_prompt": "",
            "last_image?": "IMAGE",
            "loras?": "WAN22TURBO_HOSTED_LORAS",
            "if_flagged": "keep",
        },
        {"video": "VIDEO", "report": "STRING"},
    ),
    "Wan22Turbo_JoinClips": (
        "Join Clips",
        {"first": "IMAGE", "second": "IMAGE", "match_colours": True},
        {"frames": "IMAGE", "report": "STRING"},
    ),
}
OPTIONS = {
    ("Wan22Turbo_Lora", "trigger_position"): ["prepend", "append", "off"],
    ("Wan22Turbo_Resolution", "tier"): ["720p", "480p", "240p"],
    ("Wan22Turbo_Resolution", "aspect"): ["image", "16:9", "9:16", "1:1", "4:3", "3:4"],
    ("Wan22Turbo_Resolution", "fit"): ["crop", "pad", "stretch"],
    ("Wan22Turbo_Sampler", "schedule"): ["rcm", "lightning", "shifted"],
    ("Wan22Turbo_Sampler", "mode"): ["ode", "sde"],
    ("Wan22Turbo_SaveMp4", "codec"): ["h264", "h265", "av1"],
    ("Wan22Turbo_SaveMp4", "metadata"): ["workflow", "recipe", "none"],
    ("Wan22Turbo_SaveMp4", "encoder"): ["cpu", "nvenc"],
    ("Wan22Turbo_HostedLora", "expert"): ["both", "high", "low"],
    ("Wan22Turbo_Hosted", "resolution"): ["480p", "720p", "1080p"],
    ("Wan22Turbo_Hosted", "if_flagged"): ["keep", "stop"],
}


NODES = import_pack()
each_node = pytest.mark.parametrize("node_id", NODES)


def test_the_pack_registers_the_nodes_of_the_contract():
    assert list(NODES) == list(CONTRACT)


@each_node
def test_names_order_and_defaults_are_the_contract(node_id):
    schema = NODES[node_id].define_schema()
    display_name, inputs, outputs = CONTRACT[node_id]
    assert schema.display_name == display_name
    assert [entry.id + ("?" if entry.optional else "") for entry in schema.inputs] == list(inputs)
    for entry, expected in zip(schema.inputs, inputs.values(), strict=True):
        if expected is ANY_FILE:
            assert entry.get_io_type() == "COMBO"
        elif hasattr(entry, "default"):
            assert entry.default == expected, entry.id
            assert type(entry.default) is type(expected), entry.id
        else:
            assert entry.get_io_type() == expected, entry.id
    assert {entry.id: entry.get_io_type() for entry in schema.outputs} == outputs
    assert [entry.display_name for entry in schema.outputs] == list(outputs)


@pytest.mark.parametrize(("place", "expected"), OPTIONS.items(), ids=lambda value: ".".join(map(str, value)))
def test_options_are_the_contract(place, expected):
    node_id, name = place
    entry = next(entry for entry in NODES[node_id].define_schema().inputs if entry.id == name)
    assert entry.options == expected


@each_node
def test_execute_takes_what_the_schema_offers(node_id):
    node = NODES[node_id]
    offered = {entry.id: bool(entry.optional) for entry in node.define_schema().inputs}
    parameters = inspect.signature(node.execute).parameters
    taken = {name: parameter.default is not inspect.Parameter.empty for name, parameter in parameters.items()}
    assert taken == offered  # the same names, and a default for what may be missing
    required = [name for name, optional in offered.items() if not optional]
    assert [name for name in taken if not taken[name]] == required  # in the same order


@each_node
def test_a_person_is_told_what_everything_is(node_id):
    schema = NODES[node_id].define_schema()
    assert schema.category == "wan 2.2 turbo"
    assert schema.description.endswith(".")
    assert schema.search_aliases
    obvious = {"positive", "seed", "image", "latent", "cfg", "strength_high", "strength_low"}
    assert not [entry.id for entry in schema.inputs if not entry.tooltip and entry.id not in obvious]


@each_node
def test_schema_is_one_that_comfyui_accepts(node_id):
    schema = NODES[node_id].GET_SCHEMA()
    assert schema.node_id == node_id
    NODES[node_id].INPUT_TYPES()
