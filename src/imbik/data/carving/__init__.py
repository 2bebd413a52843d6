"""What parts or joins rows before they are learned from: texts that nearly repeat one another, texts of a row that are read apart."""
