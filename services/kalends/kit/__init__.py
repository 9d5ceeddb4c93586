"""Domain-free tools, each fit to be a library of its own; nothing here may know what Kalends is."""
