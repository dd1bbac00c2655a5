"""Single linkage of every row of W, exact."""
