"""What the operator reports: statuses, events, metrics."""
