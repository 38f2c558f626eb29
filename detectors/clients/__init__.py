"""Clients: how the queries of one client are read, for every detector of attacks."""
