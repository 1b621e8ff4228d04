"""What the container stack is tried out with: a small text classifier, fitted and frozen, and its data."""
