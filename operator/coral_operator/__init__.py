"""The Kubernetes operator: observe, plan, roll out, report."""
