"""From what annotators say of single sessions to labels that people agree on."""
