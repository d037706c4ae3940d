"""Plans as data for people and programs."""
