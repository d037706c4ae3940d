"""Stage 2: how many instances of which template run where; and the checker of every plan."""
