# Where artifacts come from: fixed-output derivations, whose store path depends on name and SHA-256 alone.
#
# So it does not matter who fetched: `flyte-build nix prefetch` puts the same files at the same paths from whatever
# mirrors and indexes are configured, and then nothing here runs. These are the ways for a machine with a network.

let
  inherit (builtins) concatStringsSep elemAt filter match replaceStrings split stringLength substring;

  # What may be in a store path's name; every other character becomes a dash. Also in `flyte_build/exporting/nix.py`.
  storeName = file:
    let
      plain = concatStringsSep "-" (filter builtins.isString (split "[^A-Za-z0-9+._?=-]" file));
      start = if substring 0 1 plain == "." then "-" + plain else plain;
    in
    substring 0 200 start;

  number = digits: builtins.fromJSON (elemAt (match "0*([0-9]+)" digits) 0);
  two = n: (if n < 10 then "0" else "") + toString n;

  # A lock's instant is its newest Release file's. The snapshot archive took its copy of that state hours later, and
  # answers with the copy before the instant asked for; the day after has it.
  dayAfter = stamp:
    let
      part = at: length: number (substring at length stamp);
      year = part 0 4;
      month = part 4 2;
      day = part 6 2;
      divides = n: year / n * n == year;
      leap = divides 4 && (!divides 100 || divides 400);
      days =
        if month == 2 then (if leap then 29 else 28)
        else if builtins.elem month [ 4 6 9 11 ] then 30
        else 31;
      next =
        if day < days then { inherit year month; day = day + 1; }
        else if month < 12 then { inherit year; month = month + 1; day = 1; }
        else { year = year + 1; month = 1; day = 1; };
    in
    assert stringLength stamp == 16;
    toString next.year + two next.month + two next.day + substring 8 8 stamp;

  # Debian's pool rule, as `LockedDeb.pool_path` has it.
  poolPath = deb:
    let prefix = substring 0 (if substring 0 3 deb.source == "lib" then 4 else 1) deb.source;
    in "pool/${deb.component}/${prefix}/${deb.source}/${deb.file}";

  fixed = artifact: {
    name = storeName artifact.file;
    outputHashMode = "flat";
    outputHashAlgo = "sha256";
    outputHash = artifact.sha256;
    preferLocalBuild = true;
  };

  proxies = [
    "http_proxy" "https_proxy" "ftp_proxy" "all_proxy" "no_proxy"
    "HTTP_PROXY" "HTTPS_PROXY" "FTP_PROXY" "ALL_PROXY" "NO_PROXY"
  ];
in
{
  inherit storeName dayAfter poolPath;

  # A locked Debian package, by Nix's own downloader from the snapshot archive.
  deb = stamp: deb:
    let url = "https://snapshot.debian.org/archive/${deb.archive}/${dayAfter stamp}/${poolPath deb}";
    in
    derivation (fixed deb // {
      builder = "builtin:fetchurl";
      system = "builtin";
      inherit url;
      urls = [ url ];
      executable = false;
      unpack = false;
      impureEnvVars = proxies;
    });

  # What no index has (what a sealed step changed, a Python of uv's, a conda package): it is in the store already, or nobody here brings it.
  held = what: run: layer:
    derivation (fixed layer // run [
      "-c"
      "import sys; sys.exit(sys.argv[1])"
      "${layer.file}: ${what} is not in the Nix store; `flyte-build nix prefetch` puts it there (docs/nix.md)"
    ]);

  # A locked wheel, by the locked pip, as the caller has configured pip: `run` runs the locked interpreter.
  wheel = run: python: wheel:
    derivation (fixed wheel // run (
      [ ./fetch_wheel.py wheel.name wheel.version wheel.file wheel.sha256 python (placeholder "out") ]
    ) // {
      impureEnvVars = proxies ++ [
        "PIP_CONFIG_FILE" "PIP_INDEX_URL" "PIP_EXTRA_INDEX_URL" "PIP_FIND_LINKS" "PIP_NO_INDEX" "PIP_TRUSTED_HOST"
        "PIP_CERT" "PIP_CLIENT_CERT" "PIP_PROXY" "PIP_RETRIES" "PIP_TIMEOUT" "PIP_DEFAULT_TIMEOUT"
        "SSL_CERT_FILE" "NIX_SSL_CERT_FILE" "NETRC"
      ];
    });
}
