"""Package data: GPU types, models, instance prices; and the lookups by name."""
