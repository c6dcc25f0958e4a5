"""May this ship? Golden cases, gates that say how far to trust them, comparisons and forecasts."""
