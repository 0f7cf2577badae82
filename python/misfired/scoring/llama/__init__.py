"""GGUF models scored in this process through llama.cpp."""
