"""Suites of contrastive pairs."""
