"""The summarize service: segments, the calendar's nodes and their evidence. Never decides when a node is due."""
