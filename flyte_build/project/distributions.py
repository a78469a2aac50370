"""Which distribution brings a module that is not installed here: what a message tells the user to install.

Known are those whose names differ from their modules'; the rest are called like the module. Looks nothing up.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["distribution_of", "to_install"]

_CALLED = {
    "Bio": "biopython",
    "Crypto": "pycryptodome",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "agents": "openai-agents",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "fitz": "pymupdf",
    "git": "gitpython",
    "github": "pygithub",
    "grpc": "grpcio",
    "imblearn": "imbalanced-learn",
    "jwt": "pyjwt",
    "magic": "python-magic",
    "pkg_resources": "setuptools",
    "pptx": "python-pptx",
    "psycopg2": "psycopg2-binary",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "tavily": "tavily-python",
    "umap": "umap-learn",
    "websocket": "websocket-client",
    "whisper": "openai-whisper",
    "yaml": "pyyaml",
}
# Namespaces that many distributions share, and how many names of the module make theirs.
_SHARED = {"flyteplugins": 2, "flyteplugins.agents": 3, "google.cloud": 3, "azure": 3}


def distribution_of(module: str) -> str:
    """``flyteplugins.dask.models`` → ``flyteplugins-dask``; ``sklearn.svm`` → ``scikit-learn``."""
    parts = module.split(".")
    depth = max((n for space, n in _SHARED.items() if f"{module}.".startswith(f"{space}.")), default=1)
    if depth > 1:
        return "-".join(parts[:depth]).replace("_", "-")
    return _CALLED.get(parts[0], parts[0].replace("_", "-"))


def to_install(modules: Iterable[str]) -> list[str]:
    """The distributions of ``modules``, each once, sorted; a namespace that was only passed through is none."""
    named = set(modules)
    asked = {m for m in named if not any(m in _SHARED and n.startswith(f"{m}.") for n in named)}
    return sorted({distribution_of(m) for m in asked})
