"""From a planning problem to a checked plan with its peers."""
