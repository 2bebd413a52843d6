"""Recipes: reading, checking, the shipped ones, the ladder."""
