"""`python -m hiresnn` is the command line."""

from hiresnn.cli import main

if __name__ == "__main__":
    main()
