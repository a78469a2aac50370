"""What is asked of Debian in an image and of Debian installed: packages by group, and commands that use them.

Each command has a text that a right answer holds, so that two trees cannot agree by failing alike. Commands leave out
what one run has by chance: dates, process numbers, what goes to a terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["FILES", "GROUPS", "OWN", "Group"]

OWN = ("ca-certificates", "netbase", "python3.11")
"""What every image has besides: its interpreter, and what that needs for TLS."""

FILES: Mapping[str, str] = {
    "graph.dot": 'digraph g { rankdir=LR; node [fontname="DejaVu Sans"]; a -> b [label="über"]; b -> c; a -> c; }\n',
    "page.html": "<html><body><p id=p></p><script>document.querySelector('p').textContent = 6 * 7</script></html>\n",
    "paper.tex": "\\documentclass{article}\\begin{document}\\section{One}$\\int_0^1 x\\,dx=\\frac12$\\end{document}\n",
}

_ALL = (
    ("dpkg --audit && echo silent", "silent"),
    ("update-alternatives --get-selections | grep -v '\\.gz '", "/usr/bin/mawk"),
    ("getent passwd | grep -v ^flyte: | sort; getent group | grep -v ^flyte: | sort", "nobody:x:65534:"),
)
_CHROMIUM = "chromium --headless --no-sandbox --disable-gpu"
_PICTURE = "convert -size 64x48 gradient:red-blue -rotate 7 /tmp/a.{0} && identify -format '%m %wx%h %#\\n' /tmp/a.{0}"


@dataclass(frozen=True, slots=True)
class Group:
    """``packages`` to ask for, and ``asked``: a command of the shell, and a part of what it has to say."""

    packages: tuple[str, ...]
    asked: tuple[tuple[str, str], ...]

    @property
    def questions(self) -> tuple[tuple[str, str], ...]:
        return (*_ALL, *self.asked)


GROUPS: Mapping[str, Group] = {
    "java": Group(
        ("openjdk-17-jre-headless",),
        (
            ("java -version", "OpenJDK Runtime Environment"),
            ("java -XshowSettings:locale -version 2>&1 | grep default", "default locale"),
            (
                "keytool -list -cacerts -storepass changeit | sed -E 's/, [A-Z][a-z]{2} [0-9]+, [0-9]{4}, /, /' | sort",
                "trustedCertEntry",
            ),
            ("readlink -f /usr/bin/java", "/usr/lib/jvm/java-17-openjdk-amd64/bin/java"),
        ),
    ),
    "drawing": Group(
        ("graphviz", "imagemagick", "fonts-dejavu-core"),
        (
            ("dot -V", "graphviz version"),
            ("dot -T? /srv/graph.dot || true", "Use one of:"),
            *((f"dot -T{kind} /srv/graph.dot | sha256sum", "  -") for kind in ("svg", "png", "pdf", "ps", "gif")),
            ("for one in neato fdp sfdp twopi circo; do $one -Tsvg /srv/graph.dot | sha256sum; done", "  -"),
            *((_PICTURE.format(kind), "72x58") for kind in ("png", "jpg", "gif", "tiff", "webp", "bmp")),
            ("convert -list format | sort", "Portable Network Graphics"),
            ("convert rose: a.png; mogrify -resize 50% a.png; montage a.png a.png b.png; compare a.png a.png c.png; "
             "composite a.png b.png d.png; identify -format '%wx%h %#\\n' a.png b.png c.png d.png", "35x23"),
            ("convert -font DejaVu-Sans label:Text a.png; identify -format '%wx%h %#' a.png", "x"),
            ("fc-list | sort; fc-match sans; fc-match monospace", "DejaVuSans.ttf"),
        ),
    ),
    "r": Group(
        ("r-base-core", "r-cran-jsonlite"),
        (
            ("R --version", "R version 4"),
            ("Rscript -e 'l <- lm(dist ~ speed, cars); cat(jsonlite::toJSON(list(sd = sd(1:3), fit = coef(l))))'",
             '"sd":[1]'),
            ("Rscript -e 'print(sort(rownames(installed.packages())))'", "jsonlite"),
            ("Rscript -e 'print(capabilities())'", "jpeg"),
            ("Rscript -e 'pdf(\"/tmp/a.pdf\"); plot(cars); dev.off(); file.info(\"/tmp/a.pdf\")$size > 1000'", "TRUE"),
            ("R RHOME; ldd /usr/lib/R/bin/exec/R | grep -c '=> /'", "/usr/lib/R"),
        ),
    ),
    "tools": Group(
        (
            "unixodbc", "tdsodbc", "odbc-postgresql", "locales", "openssh-client", "postgresql-client", "fontconfig",
            "fonts-liberation",
        ),
        (
            ("odbcinst -q -d", "[FreeTDS]"),
            ("odbcinst -j", "DRIVERS............: /etc/odbcinst.ini"),
            ("locale -a", "C.utf8"),
            ("localedef -i de_DE -f UTF-8 /tmp/de_DE.UTF-8 && LOCPATH=/tmp LC_ALL=de_DE.UTF-8 locale day", "Sonntag"),
            ("ssh -V", "OpenSSH"),
            ("ssh -G host.invalid | sort", "hostname host.invalid"),
            ("ssh-keygen -q -t ed25519 -N '' -f key && ssh-keygen -y -f key | cut -c1-11", "ssh-ed25519"),
            ("psql --version; pg_dump --version", "psql (PostgreSQL)"),
            ("fc-list | sort; fc-match serif", "LiberationSerif-Regular.ttf"),
        ),
    ),
    "display": Group(
        ("xvfb", "xauth", "x11-utils", "xfonts-base"),
        (
            ("Xvfb -help 2>&1 | head -n 20", "use: X"),
            ("xvfb-run -a xdpyinfo | grep -E 'dimensions|vendor string|depth of root'", "dimensions:"),
            ("xvfb-run -a xlsfonts | sort | sha256sum", "  -"),
        ),
    ),
    "browser": Group(
        ("chromium",),
        (
            ("chromium --version", "Chromium"),
            (f"{_CHROMIUM} --dump-dom file:///srv/page.html 2>/dev/null", '<p id="p">42</p>'),
            (f"{_CHROMIUM} --screenshot=/tmp/a.png file:///srv/page.html >/dev/null 2>&1; sha256sum a.png", "a.png"),
        ),
    ),
    "tex": Group(
        ("texlive-latex-base",),
        (
            ("pdflatex -interaction=batchmode /srv/paper.tex >/dev/null; sha256sum paper.pdf", "paper.pdf"),
            ("pdflatex --version", "pdfTeX 3"),
            ("lualatex -interaction=batchmode /srv/paper.tex >/dev/null && head -c 5 paper.pdf", "%PDF-"),
            ("kpsewhich article.cls pdftex.map", "article.cls"),
            ("latex -interaction=batchmode /srv/paper.tex >/dev/null; dvips -q paper.dvi -o - | sha256sum", "  -"),
        ),
    ),
}  # fmt: skip
