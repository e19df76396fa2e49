"""What a row is: SQL and nothing else, one module per table or concern. Never imports `api`."""
