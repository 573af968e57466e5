"""The version, in the one place that every floor may read.

``umbel --version``, the worker's banner and the package's metadata all take it from here.
"""

VERSION = "0.1.0"
