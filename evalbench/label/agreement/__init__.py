"""What several annotators say together, and how far they agree."""
