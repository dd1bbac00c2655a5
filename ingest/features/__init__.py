"""W -> norms, duplicates, principal components, the sky."""
