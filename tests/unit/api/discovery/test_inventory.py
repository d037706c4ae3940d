"""Inventory files: CSV and YAML, and every fault with its line."""

from pathlib import Path

import pytest

from coral_api.inventory import read_inventory
from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.hardware import CapacityKind, PoolScaling

EXAMPLE = Path(__file__).parents[4] / "examples" / "inventory.csv"

CSV = """\
gpu,gpus_per_node,nodes,region,kind,node_usd_per_hour,max_nodes
l4,4,2,us-east-2,spot,,
H100-SXM,8,1,us-east-2,on-demand,,
A10,1,3,,,0.75,9
"""
YAML = """\
# the same as the CSV
- {gpu: l4, gpus_per_node: 4, nodes: 2, region: us-east-2, kind: spot}
- gpu: H100-SXM
  gpus_per_node: 8
  nodes: 1
  region: us-east-2
- {gpu: A10, gpus_per_node: 1, nodes: 3, node_usd_per_hour: 0.75, max_nodes: 9}
"""


@pytest.fixture
def write(tmp_path):
    def _write(text, name="inventory.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return _write


@pytest.mark.parametrize(("text", "name"), [(CSV, "a.csv"), (YAML, "a.yaml"), (YAML, "a.yml")])
def test_csv_and_yaml_say_the_same(write, text, name):
    pools = {pool.name: pool for pool in read_inventory(write(text, name))}
    assert list(pools) == [
        "default/A10x1-pcie/on-demand",
        "us-east-2/H100x8-nvlink/on-demand",
        "us-east-2/L4x4-pcie/spot",
    ]
    a10, h100, l4 = pools.values()
    assert (a10.scaling, a10.max_nodes, a10.node_usd_per_hour) == (PoolScaling.ELASTIC, 9, 0.75)
    # Medians and list prices of prices.csv.
    assert (h100.node_usd_per_hour, l4.node_usd_per_hour) == (55.04, 1.6528)
    assert (l4.key.kind, l4.free_gpus) == (CapacityKind.SPOT, 8)


def test_the_example_is_priced():
    pools = read_inventory(EXAMPLE)
    assert sum(len(pool.nodes) for pool in pools) == 10
    assert all(pool.node_usd_per_hour > 0 for pool in pools)


def test_a_byte_order_mark_and_blanks_are_forgiven(write):
    text = "\ufeffgpu , gpus_per_node, nodes, region\nL4, 4, 1, us-east-2\n\n"
    assert len(read_inventory(write(text))) == 1


HEADER = "gpu,gpus_per_node,nodes,region,kind,node_usd_per_hour,max_nodes\n"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("L5,4,1,us-east-2", "gpu: GPU type 'L5' is not in the catalogue: did you mean L4"),
        ("A100,8,1,us-east-1", "gpu: .*A100-80GB or A100-40GB"),
        ("L4,0,1,us-east-2", "gpus_per_node: "),
        ("L4,4,-1,us-east-2", "nodes: "),
        ("L4,4,1e9,us-east-2", "nodes: "),
        ("L4,4,1.5,us-east-2", "nodes: "),
        ("L4,4,nan,us-east-2", "nodes: "),
        ("L4,4,,us-east-2", "nodes: this column needs a value"),
        ("L4,4,0,us-east-2", "nodes is 0"),
        ("L4,4,1000000,us-east-2", "nodes: "),
        ("L4,4,1,us east", "region: "),
        ("L4,4,1,us-east-2,spt", "kind: .*'spot'"),
        ("L4,4,1,us-east-2,spot,nan", "node_usd_per_hour: .*finite"),
        ("L4,4,1,us-east-2,spot,inf", "node_usd_per_hour: .*finite"),
        ("L4,4,1,us-east-2,spot,-1", "node_usd_per_hour: "),
        ("L4,4,1,us-east-2,spot,1000000", "node_usd_per_hour: "),
        ("L4,4,3,us-east-2,spot,1,2", "max_nodes 2 is below nodes 3"),
        ("L4,4,1,us-east-2,spot,1,2,x", "unknown column too many cells"),
        ("L4,2,1,us-east-2", "the .* no on-demand price of a node with 2 L4.*node_usd_per_hour"),
    ],
)
def test_a_fault_is_told_with_its_line(write, row, words):
    with pytest.raises(InvalidInputError, match=rf"inventory\.csv:3: {words}"):
        read_inventory(write(HEADER + "L4,4,1,us-east-2\n" + row + "\n"))


def test_every_fault_of_the_file_is_told_at_once(write):
    text = HEADER + "L5,4,1,us-east-2\nL4,0,-1,us-east-2\n"
    with pytest.raises(InvalidInputError) as caught:
        read_inventory(write(text))
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("", "a.csv", "is empty"),
        (HEADER, "a.csv", "has no rows"),
        ("gpus,nodes\nL4,2\n", "a.csv", "a.csv:1: no column gpu: .* gpu, gpus_per_node"),
        ("gpu;nodes\nL4;2\n", "a.csv", "a.csv:1: no column gpu: .* with commas between"),
        ("gpu,nodes,nodes\nL4,2,3\n", "a.csv", "a.csv:1: the column nodes is there twice"),
        ("gpu,nodes,count\nL4,2,3\n", "a.csv", "unknown column count; known are gpu"),
        ("gpu,nodes\nL4,2\n", "a.csv", "gpus_per_node: this column needs a value"),
        ("gpu: L4\n", "a.yaml", "must be a list"),
        ("- L4\n", "a.yaml", "a.yaml:1: must be a mapping"),
        ("- {gpu: L4\n", "a.yaml", "is not YAML"),
        ("", "a.yaml", "must be a list"),
        ("# one\n\n- gpu: L4\n  gpus_per_node: 4\n  nodes: .nan\n", "a.yaml", "a.yaml:3: nodes"),
        ("- gpu: L4\n  gpus_per_node: true\n  nodes: 1\n", "a.yaml", "gpus_per_node"),
    ],
)
def test_a_file_that_is_no_inventory_is_refused(write, text, name, words):
    with pytest.raises(InvalidInputError, match=words):
        read_inventory(write(text, name))


def test_a_missing_file_is_a_fault(tmp_path):
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_inventory(tmp_path / "nothing.csv")


def test_rows_of_nothing_but_commas_are_left_out(write):
    text = HEADER + ",,,\nL4,4,1,us-east-2\n,,,\n"
    assert read_inventory(write(text)) == read_inventory(write(HEADER + "L4,4,1,us-east-2\n"))


def test_json_says_the_same_as_csv(write):
    text = '[{"gpu": "L4", "gpus_per_node": 4, "nodes": 1, "region": "us-east-2"}]'
    from_csv = read_inventory(write(HEADER + "L4,4,1,us-east-2\n"))
    assert read_inventory(write(text, "inventory.json")) == from_csv
