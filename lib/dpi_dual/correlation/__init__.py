"""Joins what both streams saw about an address, remembers how bad it was, and acts on it."""
