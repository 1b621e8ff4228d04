"""Tests of the programs that measure: what they pick and what they make of it, not how fast anything is."""
