"""The only file and database input and output: the lake, the ledger, and their workspace."""
