"""`tests/kubetools/build` as a module, for the scripts beside it: it knows where a Go is."""

import importlib.machinery
import importlib.util
import os
from pathlib import Path

HERE = Path(__file__).resolve().parent


def usual():
    loader = importlib.machinery.SourceFileLoader("build", str(HERE / "build"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("build", loader))
    loader.exec_module(module)
    return module


def go():
    return usual().Go()


def cache():
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "portolan-tests"
