"""``python -m payd`` is ``payd``."""

from payd.cli import main

if __name__ == "__main__":
    main(prog_name="payd")
