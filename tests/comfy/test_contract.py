"""Every schema against its own `execute`, and what every node has. What saved graphs rely on is in test_schemas.py."""

import inspect

import pytest
from schemas import import_pack

pytestmark = pytest.mark.comfy

NODES = import_pack()
each_node = pytest.mark.parametrize("node_id", NODES)


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
    assert [entry.display_name for entry in schema.outputs] == [entry.id for entry in schema.outputs]
    assert schema.description.endswith(".")
    assert schema.search_aliases
    obvious = {"positive", "seed", "image", "latent", "cfg", "strength_high", "strength_low"}
    assert not [entry.id for entry in schema.inputs if not entry.tooltip and entry.id not in obvious]


@each_node
def test_schema_is_one_that_comfyui_accepts(node_id):
    schema = NODES[node_id].GET_SCHEMA()
    assert schema.node_id == node_id
    NODES[node_id].INPUT_TYPES()
