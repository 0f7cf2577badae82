"""From pairs to the prompts that are put to a model."""
