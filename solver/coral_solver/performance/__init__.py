"""Step times, memory, capacity rules and closed-loop predictions of one deployment."""
