"""Scheduler: decides what is due and has it done, once, by whoever serves the task."""
