"""The operator: Kalends' memories, backups and erasures as custom resources of Kubernetes.

Belongs here: what turns a resource into calls of Kalends' API and of Kubernetes. Does not belong here: anything on the way of an event;
with the operator gone, memories are written and read as before. A newcomer would get wrong: nothing here may reach into Kalends' stores.
"""
