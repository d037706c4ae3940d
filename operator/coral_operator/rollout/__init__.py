"""From a plan in force to the children in the cluster."""
