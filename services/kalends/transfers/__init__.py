"""Transfers: memories leave as lines of JSON and come back from them."""
