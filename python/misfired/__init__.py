"""Measure misfired alignment: conclusions that a model rejects because of whom they are about.

Names are loaded when they are first used, so that `import misfired` and `import misfired.stats` load
neither llama.cpp nor anything that talks to servers.
"""

import lazy_loader

from misfired._core import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
