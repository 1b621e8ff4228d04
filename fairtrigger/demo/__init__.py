"""The demo: triggers for two small models, learned, served and swapped live; without a network or a checkout."""
