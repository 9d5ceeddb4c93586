"""Everything that is not product: tests by cost, fault injection, measurements, and what they share in ``support``."""
