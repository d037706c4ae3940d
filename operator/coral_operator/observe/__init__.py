"""What the cluster looks like: kopf's indexes, and one consistent reading of them."""
