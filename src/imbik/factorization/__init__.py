"""Matrices written as products of smaller ones, and the ranks to give them."""
