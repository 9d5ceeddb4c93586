"""What should be, what is, and the steps between: pure functions over frozen values.

Belongs here: specs, what was seen, plans, conditions, names. Does not belong here: asking anybody (``kalends``, ``cluster``), kopf, a
clock. A newcomer would get wrong: a plan is made anew from what is seen after every round, so a step that was cut off needs no memory of
its own: what it left behind is seen.
"""
