"""What plug-ins of each kind promise, as functions that anybody's tests call.

One line in a test checks a plug-in on small data that is made for it, 2D and 3D:

    from autoseg.testing import check_plugin

    def test_my_loss():
        check_plugin("loss", "my-loss")

The docstrings of the modules here list the promises, a function per kind. No test runner is needed.
"""

from autoseg.testing.contracts import CONTRACTS, check_plugin
from autoseg.testing.subject import ContractBroken

__all__ = ["CONTRACTS", "ContractBroken", "check_plugin"]
