"""From a snapshot to a planning problem, and from there to a ServingPlan."""
