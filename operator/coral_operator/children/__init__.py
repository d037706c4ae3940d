"""Pure builders of the operator's children: serving instances in, Kubernetes manifests out."""
