"""Published figures and architectures, beside what is measured."""
