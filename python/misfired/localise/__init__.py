"""Where inside a model the evidence is overruled: lens, patching, heads, attention, substitution.

Names are loaded when they are first used, so that options can be read without llama.cpp.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
