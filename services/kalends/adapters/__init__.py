"""The only places that import a vendor's client; each package one vendor or kind of engine."""
