"""GGUF models scored in this process through llama.cpp."""

from misfired.scoring.environment import before_loading

# Here, since nothing in this package can load the library before.
before_loading()
