"""Package data: GPU types, models, instance prices; and the lookups by name."""

from coral_solver.catalog.gpus import (
    gpu_type,
    gpu_type_of_karpenter,
    gpu_type_of_label,
    gpu_types,
)
from coral_solver.catalog.huggingface import model_from_config_file
from coral_solver.catalog.inventories import (
    InventoryRow,
    inventory,
    inventory_names,
    inventory_pools,
)
from coral_solver.catalog.models import model_arch, model_archs, published_parameters
from coral_solver.catalog.names import did_you_mean
from coral_solver.catalog.paper_setup import (
    DemandMix,
    PaperSetup,
    PriceSheet,
    paper_setup,
    paper_workload,
)
from coral_solver.catalog.prices import (
    InstanceShape,
    NodePrice,
    NoPrice,
    RegionPrices,
    instance_shape,
    node_price,
    price_regions,
    region_prices,
)

__all__ = [
    "DemandMix",
    "InstanceShape",
    "InventoryRow",
    "NoPrice",
    "NodePrice",
    "PaperSetup",
    "PriceSheet",
    "RegionPrices",
    "did_you_mean",
    "gpu_type",
    "gpu_type_of_karpenter",
    "gpu_type_of_label",
    "gpu_types",
    "instance_shape",
    "inventory",
    "inventory_names",
    "inventory_pools",
    "model_arch",
    "model_archs",
    "model_from_config_file",
    "node_price",
    "paper_setup",
    "paper_workload",
    "price_regions",
    "published_parameters",
    "region_prices",
]
