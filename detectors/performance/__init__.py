"""Model performance: estimated from the model's own confidence at first, measured as labels come."""
