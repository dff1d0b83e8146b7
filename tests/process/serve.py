"""echomox-supervisor with the services of `bodies`: python -m tests.process.serve start …"""

import sys

from echomox.cli.supervisor import run
from tests.process.bodies import table

if __name__ == "__main__":
    sys.exit(run(table()))
