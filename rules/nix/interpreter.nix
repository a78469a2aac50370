# The interpreter that runs everything: Debian's Python out of locked packages (stage 1), unpacked by the seed (stage 0)
# and started through its own dynamic loader. Nothing of the machine or of nixpkgs takes part.

{ fetch, whole }:

let
  systems = {
    x86_64-linux = { platform = "linux/amd64"; triplet = "x86_64-linux-gnu"; loader = "ld-linux-x86-64.so.2"; };
    aarch64-linux = { platform = "linux/arm64"; triplet = "aarch64-linux-gnu"; loader = "ld-linux-aarch64.so.1"; };
  };
  lock = whole (builtins.fromJSON (builtins.readFile ../../flyte_build/toolchain/builder.json));

  make = system: { platform, triplet, loader }:
    let
      locked = lock.platforms.${platform};
      tree = derivation {
        name = "python${lock.recipe.python}-debian-${locked.suite}";
        inherit system;
        builder = ./seed + "/undeb-${system}";
        args = [ (placeholder "out") ] ++ map (fetch.deb locked.snapshot) locked.debs;
      };
      libraries = builtins.concatStringsSep ":" (map (folder: "${tree}/${folder}/${triplet}") [ "lib" "usr/lib" ]);
    in
    {
      inherit platform tree;
      # What a derivation needs to run Python with these arguments: a script first, then its own. -I: no environment and
      # no user's packages; -S: none of the system's; UTF-8 because a builder has no locale.
      run = arguments: {
        inherit system;
        builder = "${tree}/lib/${triplet}/${loader}";
        args = [ "--library-path" libraries "${tree}/usr/bin/python${lock.recipe.python}" ]
          ++ [ "-I" "-S" "-B" "-X" "utf8" ] ++ arguments;
      };
    };
in
builtins.mapAttrs make systems
