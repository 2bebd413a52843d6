"""Rows that leave train for dev or test together: texts that nearly repeat one another."""
