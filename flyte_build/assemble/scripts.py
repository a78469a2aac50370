"""Which maintainer scripts an image can do without, so that the others can be warned about by name.

Only ``preinst`` and ``postinst`` matter: an image is made once, nothing is upgraded or removed in it, and
debconf's ``config`` only asks. A script is known when its package is in :data:`KNOWN` (somebody read it),
or when nothing is left of it after taking away what has no effect in an image or is replaced: sections
that debhelper writes for services, menus, byte-code and upgrades (none of which a container without init
has), ``ldconfig``, plain ``update-alternatives`` calls, and shell scaffolding. What is left is an effect
nobody replaces; it is reported, never run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from .alternatives import install_calls
from .deb import Control

__all__ = ["KNOWN", "known_scripts", "unhandled_scripts"]

# Package (a pattern for the whole name) → what stands for its scripts, or why nothing has to.
KNOWN: Mapping[str, str] = {
    "adduser": "repairs on upgrade",
    "base-files": "folders, /etc/profile, /root's dot files and the links below /var: system layer",
    "base-passwd": "passwd, group, shadow and gshadow: system layer",
    "bash": "/bin/sh is dash's; the rest is a manual page's alternative",
    "binutils": "moves a file on upgrade",
    "ca-certificates": "ca-certificates.conf and the bundle: system layer",
    "coreutils": "a link for systems without merged /usr",
    "dash": "/bin/sh is in the package; the diversion is for systems whose /bin/sh was bash",
    "debconf": "asks questions",
    "debianutils": "/etc/shells: system layer",
    "dpkg": "a timer, and repairs on upgrade; the database: system layer",
    "gcc": "alternatives: system layer; removes a stale link on upgrade",
    "git": "moves folders on upgrade",
    "gzip": "repairs a diversion on upgrade",
    "hicolor-icon-theme": "a cache that is not needed",
    "init-system-helpers": "a link for debootstrap, which is not used",
    "libblas3|liblapack3": "alternatives: system layer; the rest is for upgrades",
    "libc-bin": "nsswitch.conf and ld.so.cache: system layer",
    "libc6(-.*)?": "restarts services on upgrade",
    "less|nano": "alternatives: system layer",
    "libgcrypt20": "looks for stray libraries on upgrade",
    "libglib2[.]0-0(t64)?": "caches of schemas and modules; GLib loads modules without",
    "libgssapi-krb5-2": "moves a file on upgrade",
    "libpam0g": "restarts services on upgrade",
    "libpython3[.][0-9]+-minimal": "a file that the package ships",
    "libreadline8t64": "a diversion for an upgrade from systems without merged /usr",
    "libselinux1": "removes stale files on upgrade",
    "libsensors5": "repairs on upgrade",
    "locales": "asks which locales to make; by default none",
    "login[.]defs": "moves a file on upgrade",
    "mawk": "alternatives: system layer",
    "netbase": "hosts and networks: system layer",
    "openssl": "a link for upgrades; /usr/lib/ssl is in the package",
    "openssh-client": "a group that only ssh-agent's protection wants",
    "passwd": "shadowed passwords: system layer; the group shadow is base-passwd's",
    "perl": "removes a folder on upgrade",
    "procps": "the name w for w.procps, and repairs on upgrade",
    "python3(-minimal|-distutils|-lib2to3)?": "byte-code, which is not reproduced",
    "python3[.][0-9]+(-minimal)?": "folders below /usr/local: system layer; byte-code is not reproduced",
    "readline-common": "/etc/inputrc: system layer",
    "sudo": "removes stale files on upgrade",
    "tar": "alternatives: system layer",
    "tzdata": "localtime and timezone, UTC: system layer",
    "ucf": "its own registry, which nothing reads before an upgrade",
    "unzip": "a list of viewers",
    "usrmerge": "the image has merged /usr from the start",
    "vim-runtime": "an index of the help; a diversion beside vim-tiny",
    "x11-common": "answers of debconf",
    "xz-utils": "the names lzma, unlzma and their like for xz",
}

_SECTION = re.compile(
    r"^# Automatically added by (?P<tool>[\w.+-]+)[^\n]*\n(?P<body>.*?)^# End automatically added section[^\n]*\n?",
    re.MULTILINE | re.DOTALL,
)
# debhelper commands whose sections do nothing that an image without init, menus or upgrades would show.
_INERT = {
    "dh_icons",
    "dh_installdeb",
    "dh_installinit",
    "dh_installmenu",
    "dh_installsystemd",
    "dh_installsystemduser",
    "dh_installtmpfiles",
    "dh_makeshlibs",
    "dh_pycompile",
    "dh_python3",
    "dh_systemd_enable",
    "dh_systemd_start",
}
_WORDLESS = re.compile(
    r"""
    \#.* | set\ -[eux]+ | exit(\ [0-9]+)? | : | true | esac | fi | else | then | do | done | \{ | \} | ;;
    | case\ .*\ in | if\ \[[^;`]*\](;\ then)? | if\ test\ [^;`$(]*(;\ then)?
    | \(?[a-z*|\ "'-]+\) (\ *;;)? | [a-z_]+\ ?\(\)\ ?\{? | return(\ [0-9]+)? | shift
    | echo\ (\\.|\$[^(]|[^`>|&;$\\])*(>&2)? | (/sbin/)?ldconfig(\ \|\|\ true)?
    | dpkg-maintscript-helper\ .* | \.\ /usr/share/debconf/confmodule | db_stop(\ \|\|\ true)?
    """,
    re.VERBOSE,
)


def known_scripts(package: str) -> str | None:
    """What stands for the scripts of ``package``, or ``None`` where nobody has read them."""
    return next((why for pattern, why in KNOWN.items() if re.fullmatch(pattern, package)), None)


def unhandled_scripts(debs: Iterable[Control]) -> list[tuple[str, str]]:
    """(package, script) of every script with an effect that the image will lack, sorted."""
    out = []
    for deb in debs:
        if known_scripts(deb.name) is None:
            out += [(deb.name, s) for s in ("preinst", "postinst") if s in deb.files and _rest(deb.files[s])]
    return sorted(out)


def _rest(raw: bytes) -> list[str]:
    """The lines of a script that do something nobody replaces."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return ["not a text"]
    first, _, text = text.partition("\n")
    if not re.fullmatch(r"#!\s*(/usr)?/bin/(env )?(ba|da)?sh( -\w+)?\s*", first):
        return [first]
    text = _SECTION.sub(lambda m: "" if m["tool"] in _INERT else m["body"], text + "\n").replace("\\\n", " ")
    for command, meaning in list(install_calls(text)):
        if meaning is not None:
            text = text.replace(command, "", 1)
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not _WORDLESS.fullmatch(line)]
