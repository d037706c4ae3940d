"""The `coral` command line: the operator's decision core on a laptop."""
