"""Every line that a user sees, in English and Turkish."""
