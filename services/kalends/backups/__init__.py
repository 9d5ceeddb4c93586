"""Backups: taking, checking and restoring them, and letting go of them when their time is over."""
