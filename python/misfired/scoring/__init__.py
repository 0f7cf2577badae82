"""From prompts to answers: protocols, templates, llama.cpp in this process, and servers."""
