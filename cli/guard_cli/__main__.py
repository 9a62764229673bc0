"""`python -m guard_cli`: the same as the command `guard`."""

import sys

from guard_cli.main import main

sys.exit(main())
