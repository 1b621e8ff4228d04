"""Attacks on started services, by real requests, processes and files."""
