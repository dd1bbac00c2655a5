"""A recipe's clusters and references -> members, vectors and scores."""
