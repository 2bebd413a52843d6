"""A PyTorch model as a thing: its folder, its anatomy, its layers, its tokenizer."""
