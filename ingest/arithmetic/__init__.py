"""Numbers that don't depend on the device: correctly rounded bf16, means, distances."""
