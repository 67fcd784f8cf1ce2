"""Beam's workers import this when they start (`--beam_plugin`)."""

import importlib.util
import sys
import types

_GONE = "tfx_bsl.arrow.sql_util"

# TFDV 1.16, the last that runs on glibc below 2.39, imports this module, which tfx-bsl 1.21 no
# longer has. `import tfx` puts a stand-in there, but workers never import tfx.
if importlib.util.find_spec(_GONE) is None:
    sys.modules.setdefault(_GONE, types.ModuleType(_GONE))
