"""Ports: what the services need of the world, one capability each.

Belongs here: Protocols and the values that cross them. Does not belong here: any vendor's name or type. Every implementation lives under
``adapters`` in a module of the same name and passes the suite of that name in ``tests/contracts``.
"""
