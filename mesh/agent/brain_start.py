"""The brain's process begins here. The collector rests until the brain serves: there is no garbage before, and it would
look again and again at what is imported and read from the disk, a tenth of a start."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    gc.disable()
    # Not above: it is the import that takes the time.
    from mesh.agent import brain

    brain.main(sys.argv[1])


if __name__ == "__main__":
    main()
