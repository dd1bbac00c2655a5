"""Full-scale runs, each beside the notebook's way in the same run. `make bench`, or `python -m tests.benchmarks -h`."""
