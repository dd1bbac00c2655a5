"""Recipes in TOML -> what to compute, checked."""
