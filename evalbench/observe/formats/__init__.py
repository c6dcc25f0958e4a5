"""The formats that traces come in, one file each, and what they share."""
