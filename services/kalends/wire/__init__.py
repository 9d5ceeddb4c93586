"""Protobuf to domain and back; sealing. Generated code lives in gen/ and is private to this package."""
