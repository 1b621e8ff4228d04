"""The service: a frozen model behind HTTP, its triggers swapped while traffic flows, its fairness counted live."""
