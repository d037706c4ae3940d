"""What others would do with the same inputs: the peers that a plan is compared with."""
