"""Networks: read from their files, checked, and made faster."""
