"""The five custom resources: one Python model, of which the CRDs are made and by which the operator reads and writes objects.

Belongs here: fields with their meaning, bounds and defaults, and the rules that the API server checks. Does not belong here: what the
operator does about an object. A newcomer would get wrong: the rules run in the API server as CEL, so what is decoded here has passed them
already; and a field that is added to a status without ``make crds`` is dropped by the server without a word.
"""
