"""Lets TFDV be imported where tfx was not. Beam's workers import this when they start.

The runners hand the option on to workers on this machine, of Dataflow and of job servers alike.

TFDV 1.16 imports a module that tfx-bsl 1.21 no longer has. `import tfx` puts a stand-in there, but
workers, which `--beam_plugin` has import this module, never import tfx.

Until TFDV 1.21 runs wherever Swar does: its wheels, and those of ml-metadata, need glibc 2.39. Then
this module goes, with `--beam_plugin`.
"""

import importlib.util
import sys
import types
from typing import Final

_GONE: Final = "tfx_bsl.arrow.sql_util"

if _GONE not in sys.modules and importlib.util.find_spec(_GONE) is None:
    sys.modules[_GONE] = types.ModuleType(_GONE)
