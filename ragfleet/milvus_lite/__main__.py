"""`python -m ragfleet.milvus_lite --data-dir D --host 127.0.0.1 --port P`: the arguments of `milvus-lite server`."""

import sys

from milvus_lite.cmdline import main

from ragfleet.milvus_lite.search import install

if __name__ == "__main__":
    install()
    sys.exit(main(["server", *sys.argv[1:]]))
