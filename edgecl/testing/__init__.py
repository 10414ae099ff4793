"""Conformance suites for classes of your own: methods and policies."""
