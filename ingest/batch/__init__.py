"""Batches: many sources, asked for together, and what each becomes."""
