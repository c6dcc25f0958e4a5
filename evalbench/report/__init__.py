"""What people read: charts, tables, sentences, and the runbook."""
