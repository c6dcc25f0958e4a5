"""From notes to clusters, and how many failure modes are still unseen."""
