"""Every label, annotation and field manager by which children are written and found again."""

from __future__ import annotations

from coral_api.base import GROUP

FIELD_MANAGER = "coral-operator"
"""Field manager of every server-side apply."""

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY_VALUE = "coral"

SELECTOR = f"{MANAGED_BY}={MANAGED_BY_VALUE}"
"""Label selector that finds all children."""

SERVICE = f"{GROUP}/service"
"""Name of the MultiLLMService, in the child's own namespace."""

MODEL = f"{GROUP}/model"
"""Name of the model inside its service."""

INSTANCE = f"{GROUP}/instance"
"""Serving instance, shortened to a legal label value; ``INSTANCE_NAME`` has it in full."""

STAGE = f"{GROUP}/stage"
"""Pipeline stage, from 0. Stage 0 has the HTTP server."""

PHASE = f"{GROUP}/phase"
"""``whole``, ``prefill`` or ``decode``."""

GROUP_DIGEST = f"{GROUP}/group"
"""Digest of the pods of all stages of an instance: a change to one is a change to all."""

OPENCOST_MODEL = "llm-d.ai/model"
"""Label by which OpenCost attributes the cost of a pod to a model (OpenCost, inference costs)."""

INSTANCE_NAME = f"{GROUP}/instance-name"
"""Annotation: name of the serving instance as the ServingPlan has it."""

TEMPLATE = f"{GROUP}/template"
"""Annotation: id of the serving template that the instance runs."""
