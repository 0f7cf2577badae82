"""Suites of contrastive pairs: where they come from, and how they are read and written."""

from misfired.suites.bbq import BBQ_CATEGORIES, fetch_bbq
from misfired.suites.card import Card, read_card
from misfired.suites.check import check_pairs
from misfired.suites.io import PAIRS_SCHEMA, read_suite, validate_suite, write_suite
from misfired.suites.matching import match_pairs
from misfired.suites.registry import BUILT_SUITES, VETO_CATEGORIES, build_pairs

__all__ = ["BBQ_CATEGORIES", "BUILT_SUITES", "PAIRS_SCHEMA", "VETO_CATEGORIES", "Card"]
__all__ += ["build_pairs", "check_pairs", "fetch_bbq", "match_pairs"]
__all__ += ["read_card", "read_suite", "validate_suite", "write_suite"]
