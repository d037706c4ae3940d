"""Coral's decision core: which GPUs serve which model, with which parallelism, at the least cost.

Pure: nothing in here knows Kubernetes, asyncio or the wall clock. Layers, each importing only
those to its right: ``planning -> baselines -> allocation | templates -> performance -> catalog
-> domain``.
"""
