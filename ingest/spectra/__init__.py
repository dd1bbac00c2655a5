"""A cluster's rows -> their eigenvalues and directions, by themselves."""
