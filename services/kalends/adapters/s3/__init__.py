"""Buckets of S3, and of servers that speak as S3 does, as archives."""
