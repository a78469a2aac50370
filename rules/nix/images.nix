# One lock → the image's derivation on each of its platforms: one derivation a layer, one that joins them.

{ fetch, sources, layersOf }:

# `interpreter`: what runs the steps; `src`: the project, for what its images copy.
interpreter: src: lock:

let
  inherit (builtins) concatLists elemAt filter genList head length map removeAttrs toFile toJSON;
  inherit (interpreter) run;

  # What a finished step may refer to in the store: nothing. What it was made of is in its bytes.
  alone = { allowedReferences = [ ]; };

  recipe = lock.recipe;
  python = let conda = layersOf.environment lock; in if conda == null then recipe.python else conda.python;
  indexes = kind: filter (i: (elemAt recipe.steps i).kind == kind) (genList (i: i) (length recipe.steps));

  # Wheels that are files of the project, by file name.
  own = builtins.listToAttrs (concatLists (map
    (i: map (path: { name = baseNameOf path; value = path; }) ((elemAt recipe.steps i).wheels or [ ]))
    (indexes "pip")));

  artifact = locked: row:
    if builtins.match ".*\\.deb" row.file != null then fetch.deb locked.snapshot row
    else if builtins.match "sealed-.*" row.file != null then fetch.held "the layer of a sealed step" run row
    else if builtins.match ".*\\.(conda|tar\\.bz2)" row.file != null then fetch.held "a conda package" run row
    else if builtins.match ".*\\.tar\\.gz" row.file != null then fetch.held "the archive of Python" run row
    else if own ? ${row.file} then
      builtins.path { path = src + "/${own.${row.file}}"; name = fetch.storeName row.file; recursive = false; }
    else fetch.wheel run python row;

  layer = locked: { spec, artifacts, ... }@one:
    derivation ({ name = "flyte-layer-${spec.kind}"; } // alone // run (
      [ sources.assemble "layer" (toFile "spec.json" (toJSON spec)) (placeholder "out") ]
      ++ concatLists (map (row: [ "--artifact" "${row.sha256}=${artifact locked row}" ]) artifacts)
      ++ (if one ? of then [ "--compiled" (compiled locked one) ] else [ ])
    ));

  # What the image's own interpreter makes of the modules of a finished layer. It is the same version's, for the machine
  # that builds, out of the same lock.
  compiled = locked: { spec, of, ... }:
    let
      here = lock.platforms.${interpreter.platform} or null;
      by = if here == null then "none" else layersOf.interpreter lock here;
    in
    if by != spec.by then
      throw "${lock.environment}: its modules are compiled by Python ${spec.by}, and for ${interpreter.platform} the lock has ${by}"
    else
      derivation ({ name = "flyte-bytecode"; } // alone // interpreter.runOf (artifact here) lock.recipe.python here (
        [ "${sources.assemble}/compiling.py" "${layer locked of}/blob" (placeholder "out") ] ++ spec.folders
      ));

  # A layer of files depends on the recipe and the project, so of the lock it is given nothing else.
  bare = lock // {
    platforms = builtins.mapAttrs (_: locked: removeAttrs locked [ "seals" "conda" ] // { debs = [ ]; wheels = [ ]; }) lock.platforms;
  };
  command = [ "${sources.stepwise}/flyte_build/stepwise" ];
  # A pin records what a build gave, so nothing that is built depends on it.
  written = value: toFile "lock.json" (toJSON (removeAttrs value [ "pins" ]));

  files = platform: step: {
    inherit step;
    drv = derivation ({ name = "flyte-layer-files"; } // alone // run (
      command ++ [ "files" (written bare) platform (toString step) (placeholder "out") "--root" "${src}" ]
    ));
  };

  image = platform: locked:
    let
      layers = map (layer locked) (layersOf lock platform);
      copies = map (files platform) (indexes "copy");
      drv = derivation ({ name = "${fetch.storeName lock.environment}-oci"; } // run (
        command ++ [ "image" (written lock) platform (placeholder "out") "--link" ]
        ++ concatLists (map (l: [ "--layer" l ]) layers)
        ++ concatLists (map (c: [ "--files" "${toString c.step}=${c.drv}" ]) copies)
      ));
      check = derivation ({ name = "${fetch.storeName lock.environment}-pin"; } // run (
        command ++ [ "check" (toFile "lock.json" (toJSON lock)) platform drv "--out" (placeholder "out") ]
      ));
    in
    drv // {
      layers = layers ++ map (c: c.drv) copies;
      pinned = lock ? pins && lock.pins ? ${platform};
      inherit check;
    };

  # An attribute that says why, to who asks for it, and leaves the others and `nix flake check` alone.
  refused = why: _: _: derivation ({ name = "refused"; } // run [
    "-c"
    "import sys; sys.exit(sys.argv[1])"
    "${lock.environment}: ${why}; use `flyte-build build`"
  ]) // { layers = [ ]; pinned = false; };
in
builtins.mapAttrs
  (if recipe.base.kind == "debian" then image else refused "its base is an image of a registry, and Nix gets no images")
  lock.platforms
