"""Where `halfseen` and `python -m halfseen` begin: importing takes a second, and Ctrl-C may come within it."""

import sys


def main() -> int:
    """Run the command line; returns the exit code."""
    try:
        from halfseen.cli import main as run  # noqa: PLC0415
    except KeyboardInterrupt:
        sys.stderr.write("halfseen: stopped by Ctrl-C before anything was done\n")
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
