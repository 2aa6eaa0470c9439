"""`python -m build_scripts`."""

from build_scripts.cli import main

if __name__ == "__main__":
    main()
