"""SOURCE -> a matrix and a tokenizer in local files."""
