"""Attacks on a started service, by real requests: what was found live, as short as can be."""
