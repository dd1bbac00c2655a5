"""The SQL of the catalog (views, macros, the demo's questions), and the Python that runs it; loads no torch."""
