"""Tables about a clustering: indices, comparison, profiles. Arrays and tables of the host: no JAX."""
