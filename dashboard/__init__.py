"""Dashboard: Dash pages over the read side (monitor.queries)."""
