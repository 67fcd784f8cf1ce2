"""Lets Beam's workers import TFDV without tfx; `--beam_plugin` makes them import this module.

Runners pass that option to workers on this machine, of Dataflow and of job servers alike.

TFDV 1.16 imports a module that tfx-bsl 1.21 no longer has. `import tfx` puts a stand-in in its
place, but workers never import tfx.

Needed until TFDV 1.21 runs wherever Swar does: its wheels, and those of ml-metadata, need glibc
2.39. Then this module and `--beam_plugin` can be removed.
"""

import importlib.util
import sys
import types
from typing import Final

_GONE: Final = "tfx_bsl.arrow.sql_util"

if _GONE not in sys.modules and importlib.util.find_spec(_GONE) is None:
    sys.modules[_GONE] = types.ModuleType(_GONE)
