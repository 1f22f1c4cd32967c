"""Measurements of the suite against its budgets, each beside its baseline in the same run."""
