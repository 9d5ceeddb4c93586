"""What operators look at and are woken by: dashboards and alerts, made from one model that is tied to the metrics.

Belongs here: queries, panels, alerts and how they become files. Does not belong here: counting (``edge.metrics``). A newcomer would get
wrong: nobody edits the files; ``make dashboards`` writes them, and a query that names a series or a label that does not exist stops it.
"""
