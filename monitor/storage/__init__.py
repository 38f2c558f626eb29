"""Storage: the tables and one module per aggregate. SQLite and PostgreSQL."""
