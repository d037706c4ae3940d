"""The edge to the Kubernetes API: requests, the Lease, the watch streams."""
