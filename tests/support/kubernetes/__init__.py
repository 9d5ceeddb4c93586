"""A real Kubernetes control plane on loopback: etcd, API server, controller manager, scheduler, and kwok in the place of kubelets.

Belongs here: how the one program is built (``recipe``, ``lock``), run (``control_plane``) and asked (``api``). Does not belong here: a
test. A newcomer would get wrong: pods are admitted, scheduled and called Running, but no image is pulled and no program in them runs.
"""
