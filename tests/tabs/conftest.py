"""Lets the tests of the tabs, and those in the browser, import the drawn engine beside them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
