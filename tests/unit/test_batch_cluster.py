"""Where the ComfyUIs of a Ray cluster run, and what studies that share it do not share. tests/server runs them."""

from contextlib import closing

import pytest
from pack.client.batch import actor, cluster
from pack.client.batch.machine import Recipe
from pack.client.batch.table import CLIPS, Table
from pack.client.errors import UsageError
from pack.tests.toy.comfies import folder_of_one


def node(name, host="here", alive=True, **resources):
    """A node, as Ray lists it."""
    return {"NodeID": name, "Alive": alive, "NodeManagerHostname": host, "Resources": {"memory": 1e9, **resources}}


NODES = [node("c", "there", CPU=9.0, GPU=1.0), node("b", CPU=4.0), node("a", GPU=2.0), node("d", alive=False, GPU=8.0)]


@pytest.mark.parametrize(
    ("cores", "most", "found"),
    [
        (0, 0, [("here", 1, "a"), ("here", 2, "a"), ("there", 1, "c")]),
        (0, 2, [("here", 1, "a"), ("here", 2, "a")]),
        (4, 0, [("here", 1, "b"), ("there", 1, "c"), ("there", 2, "c")]),
    ],
)
def test_there_is_one_on_each_gpu_or_on_each_so_many_cores(cores, most, found):
    assert cluster.seats(NODES, cores, most) == found


@pytest.mark.parametrize(("cores", "why"), [(0, "no node has a GPU"), (8, "no node has so many cores")])
def test_a_cluster_without_room_is_a_sentence(cores, why):
    sentence = rf"^Nothing in the cluster can run a ComfyUI: {why}\. Say how many each gets: --cores 8\.$"
    with pytest.raises(UsageError, match=sentence):
        cluster.seats([node("a", CPU=4.0)], cores, 0)


def identity(folder):
    with closing(Table(folder)) as table:
        return table.identity()


def test_a_study_is_the_same_wherever_its_folder_goes_and_no_other_is(tmp_path):
    one, other = identity(tmp_path / "one"), identity(tmp_path / "other")
    assert one != other
    (tmp_path / "one").rename(tmp_path / "moved")
    assert identity(tmp_path / "moved") == one


def test_two_studies_on_one_node_share_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(actor, "HERE", tmp_path / "machines")
    recipe = Recipe(str(folder_of_one(tmp_path / "comfyui")))
    first = actor.Worker(recipe, identity(tmp_path / "one"), 1, 1)
    arriving = first.folder / CLIPS / ".part-clip"
    arriving.mkdir()
    second = actor.Worker(recipe, identity(tmp_path / "other"), 1, 1)
    assert arriving.is_dir()
    folders = [machine.folder for worker in (first, second) for machine in worker.engine.machines.values()]
    assert len(set(folders)) == 2
    again = actor.Worker(recipe, identity(tmp_path / "one"), 1, 1)  # Ray started it again
    assert again.folder == first.folder
    assert not arriving.exists()
