"""What a candidate costs a year."""
