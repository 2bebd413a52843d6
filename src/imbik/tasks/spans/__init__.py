"""What tasks share whose answers lie in the texts: places of tokens, tags, entities, answers."""
