"""The text side of a model: tokenizer, vocabulary, positions, and what a network takes."""
