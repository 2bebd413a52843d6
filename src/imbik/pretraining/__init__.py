"""Raw text: corpora, masking, masked language models, general distillation."""
