"""A test server that speaks Qdrant's gRPC, from the client's own generated stubs, on the real engine (qdrant-edge).

Belongs here: what a Qdrant 1.19 server was seen to answer: status codes, guards, strict mode's refusals, aliases, durability over kill -9.
``tests/cluster/test_qdrant_wire.py`` holds it to that, row by row, and asks a real server the same where ``KALENDS_TEST_QDRANT_URL`` names
one. Does not belong here: anything that only we would expect. A newcomer would get wrong: it is no Qdrant. It has one node, one shard and
no optimizer, searches exactly, serves one call at a time, and knows of strict mode only five refusals; so it proves nothing about
replication, consistency, the recall of graphs or of 8-bit vectors, vacuum, snapshots, or speed.
"""
