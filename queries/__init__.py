"""The SQL of the catalog (views, macros, checks) and the thin Python that runs queries; loads no torch."""
