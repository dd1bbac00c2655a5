"""Single linkage of every row of a bf16 W by steps on the lattice, up to a few."""
