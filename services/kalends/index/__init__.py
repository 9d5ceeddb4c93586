"""The index service: the projections, each with its own consumer; rebuild with an atomic switch. Never answers queries."""
