"""The demo: a real model, honest clients, then drift, foreign inputs and a thief, through the production path."""
