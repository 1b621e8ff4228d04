"""The results: runs of the product on every task, and the page that is written from their records."""
