"""The custom resources as pydantic models, their CRDs, and the conversion to the solver's domain.

No Kubernetes client is used here.
"""
