"""Prices: what is sold, at what price, and the words where nothing is."""

import pytest

from coral_solver.catalog import (
    NodePrice,
    NoPrice,
    gpu_type,
    instance_shape,
    node_price,
    price_regions,
    region_prices,
)
from coral_solver.catalog.prices import _instance_shapes, _price_rows
from coral_solver.domain.errors import CatalogError
from coral_solver.domain.hardware import CapacityKind

ON_DEMAND, SPOT = CapacityKind.ON_DEMAND, CapacityKind.SPOT


def test_the_instance_table_agrees_with_the_price_table():
    assert len(_price_rows()) == 96
    for row in _price_rows():
        assert instance_shape(row.sold_as) == (row.cloud, row.gpu, row.gpu_count), row.sold_as


def test_the_price_table_and_the_gpu_catalogue_mean_the_same_memory():
    for row in _price_rows():
        assert gpu_type(row.gpu).memory_gib == pytest.approx(row.gpu_mem_gib, rel=0.1), row


def test_spot_prices_are_ordered():
    for row in _price_rows():
        if row.spot_usd_h_median is not None:
            assert row.spot_usd_h_min <= row.spot_usd_h_median <= row.spot_usd_h_max, row


def test_the_price_of_a_shape_has_its_provenance():
    # p5.48xlarge in prices.csv: 55.04 on demand, 11.5616 median spot.
    price = node_price("H100", 8, "us-east-2", ON_DEMAND)
    assert isinstance(price, NodePrice)
    assert (price.usd_per_hour, price.instance_type, price.cloud) == (55.04, "p5.48xlarge", "aws")
    assert "skypilot-catalog" in price.provenance
    assert node_price("h100-sxm", 8, "us-east-2", SPOT).usd_per_hour == 11.5616


def test_the_cheapest_instance_of_a_shape_is_taken_unless_the_instance_is_known():
    # L4 x4 in us-east-2: g6.12xlarge 4.6016, g6.24xlarge 6.6752.
    assert node_price("L4", 4, "us-east-2", ON_DEMAND).usd_per_hour == 4.6016
    exact = node_price("L4", 4, "us-east-2", ON_DEMAND, instance_type="g6.24xlarge")
    assert exact.usd_per_hour == 6.6752


def test_two_clouds_with_a_region_of_one_name_are_told_apart():
    # A100-40GB x8 in us-east-1: AWS 21.957642, Lambda 10.32.
    assert node_price("A100-40GB", 8, "us-east-1", ON_DEMAND).cloud == "aws"
    lam = node_price("A100-40GB", 8, "us-east-1", ON_DEMAND, cloud="lambda")
    assert lam.usd_per_hour == 10.32


def test_a_price_without_the_host_comes_last_and_says_so():
    # H200 x8 in us-central1: GCP's row is the GPU part only, Nebius sells the whole node for 28.
    gcp = node_price("H200", 8, "us-central1", ON_DEMAND, cloud="gcp")
    assert "host not included" in gcp.provenance
    # H100 x8 on GCP: the whole a3-highgpu-8g (87.8325) goes before the part of a3-megagpu-8g.
    assert node_price("H100", 8, "us-central1", ON_DEMAND, cloud="gcp").usd_per_hour == 87.8325


@pytest.mark.parametrize(
    ("gpu", "count", "region", "kind", "words"),
    [
        ("L4", 2, "us-east-2", ON_DEMAND, "in us-east-2 (there it knows nodes of 1 or 4 or 8)"),
        ("A100-80GB", 8, "us-east-2", ON_DEMAND, "it knows it in aws/us-east-1, gcp/us-central1"),
        ("A10", 1, "us-east-1", ON_DEMAND, "no on-demand price of A10 nodes of that size anywhere"),
        ("L4", 1, "default", ON_DEMAND, "in default"),
        ("L4", 1, "us-east-2", CapacityKind.RESERVED, "no reserved price"),
        ("T4", 1, "us-east-2", SPOT, "no spot price"),
    ],
)
def test_what_is_not_sold_is_said(gpu, count, region, kind, words):
    price = node_price(gpu, count, region, kind)
    assert isinstance(price, NoPrice)
    assert words in price.message


def test_an_unknown_gpu_is_a_fault_and_not_a_missing_price():
    with pytest.raises(CatalogError, match="did you mean"):
        node_price("L4O", 1, "us-east-2", ON_DEMAND)


@pytest.mark.parametrize(
    ("instance_type", "expected"),
    [
        ("p5.48xlarge", ("aws", "H100", 8)),
        ("p4de.24xlarge", ("aws", "A100-80GB", 8)),
        ("g6e.12xlarge", ("aws", "L40S", 4)),
        ("a2-ultragpu-4g", ("gcp", "A100-80GB", 4)),
        ("a3-megagpu-8g", ("gcp", "H100", 8)),
        ("Standard_NC48ads_A100_v4", ("azure", "A100-80GB-PCIe", 2)),
        ("Standard_ND96isr_H100_v5", ("azure", "H100", 8)),
        ("m5.large", None),
        ("g6f.large", None),  # an eighth of an L4
    ],
)
def test_instance_types_say_what_they_are_made_of(instance_type, expected):
    assert instance_shape(instance_type) == expected


def test_every_instance_type_names_a_known_gpu():
    assert len(_instance_shapes()) > 100
    for shape in _instance_shapes().values():
        assert gpu_type(shape.gpu).name == shape.gpu


def test_the_prices_of_a_region():
    prices = region_prices("aws", "us-east-2", ON_DEMAND)
    assert prices.nodes["L40S", 4].usd_per_hour == 10.49264
    assert ("A100-80GB", 8) not in prices.nodes
    assert {price.cloud for price in prices.nodes.values()} == {"aws"}
    assert ("gcp", "us-central1") in price_regions()
    with pytest.raises(CatalogError, match="did you mean aws/us-east"):
        region_prices("aws", "us-east-3", ON_DEMAND)
