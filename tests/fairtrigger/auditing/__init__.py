"""Tests of fairtrigger/auditing."""
