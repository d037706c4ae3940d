"""Capacity of a pipeline within its SLO: the front door of both capacity rules."""

from coral_solver.performance.engine import engine_settings_at, prediction_at
from coral_solver.performance.kernels import joint_capacity, joint_capacity_above, rate_ceiling
from coral_solver.performance.operator_rule import joint_tables
from coral_solver.performance.paper_rule import separable_tables

__all__ = [
    "engine_settings_at",
    "joint_capacity",
    "joint_capacity_above",
    "joint_tables",
    "prediction_at",
    "rate_ceiling",
    "separable_tables",
]
