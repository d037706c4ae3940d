"""Stage 1: the best placement for every multiset of node configurations."""
