"""Bundles: a run in one file, out of one home and into another that may have half of it already.

A bundle is material from elsewhere: it is checked whole before anything is changed, it names no
path, and no command in it is started before its user trusts the home again.
"""

from branchtrack.bundles.departure import write as write
from branchtrack.bundles.merges import Merge as Merge
from branchtrack.bundles.merges import unbundle as unbundle
from branchtrack.bundles.source import Bundle as Bundle
