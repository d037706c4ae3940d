"""Run the command line: ``python -m coral_localcluster``."""

from __future__ import annotations

from coral_localcluster.cli import main

if __name__ == "__main__":
    main()
