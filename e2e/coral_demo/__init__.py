"""`make demo`: the whole loop on a local cluster, every claim checked."""
