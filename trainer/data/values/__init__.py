"""Values of labels and groups as data write them: names, spellings, bins, crossed and overlapping groups."""
