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
      # What a derivation needs to run Python with these arguments: a script first, then its own. -I: no environment and
      # no user's packages; -S: none of the system's; UTF-8 because a builder has no locale.
      # Packages' files in the tree `debs`, a program in it or elsewhere, through that tree's own dynamic loader. Debian moved
      # the loader's file into /usr with trixie.
      started = debs: folder: program: arguments: {
        inherit system;
        builder = "${debs}/${folder}/${triplet}/${loader}";
        args = [
          "--library-path"
          (builtins.concatStringsSep ":" (map (each: "${debs}/${each}/${triplet}") [ "lib" "usr/lib" ]))
          program
        ] ++ [ "-I" "-S" "-B" "-X" "utf8" ] ++ arguments;
      };
      run = started tree "lib" "${tree}/usr/bin/python${lock.recipe.python}";
      # The archive of a relocatable Python, unpacked.
      relocated = archive: derivation ({ name = "python-relocatable"; } // run [
        "-c"
        "import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])"
        archive
        (placeholder "out")
      ]);
    in
    {
      inherit platform tree run;
      # The same of another lock's part for this platform: the interpreter that an image of it has. `artifact` gives the
      # files that the part names.
      runOf = artifact: python: part:
        let
          debs = derivation {
            name = "python${python}-debian-${part.suite}";
            inherit system;
            builder = ./seed + "/undeb-${system}";
            args = [ (placeholder "out") ] ++ map artifact (builtins.filter (deb: deb.base) part.debs);
          };
          program =
            if (part.python or null) == null then "${debs}/usr/bin/python${python}"
            else "${relocated (artifact part.python)}/python/bin/python${python}";
        in
        started debs (if part.suite == "bookworm" then "lib" else "usr/lib") program;
    };
in
builtins.mapAttrs make systems
