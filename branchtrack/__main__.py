"""`python -m branchtrack` is the same as `branchtrack`."""

from branchtrack.cli.main import main

if __name__ == "__main__":
    main()
