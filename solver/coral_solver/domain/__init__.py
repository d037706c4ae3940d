"""The words of the problem as immutable types: hardware, models, demand, templates, plans."""
