"""``python -m backend.cli``: the command ``phraseclick``."""

from backend.cli.main import main

if __name__ == "__main__":
    main()
