"""``coral report``: a plan as one HTML page, or as pictures.

Only ``command`` may be imported without a report being asked for: matplotlib takes most of a second
to import.
"""
