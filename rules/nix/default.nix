# What a flake makes of locks: `images` for `packages`, `checks` for `checks`. No inputs; the built-in functions only.

let
  inherit (builtins) attrNames attrValues concatLists fromJSON head listToAttrs map mapAttrs match readDir readFile;

  fetch = import ./fetch.nix;
  whole = import ./lock.nix;
  interpreters = import ./interpreter.nix { inherit fetch whole; };
  imagesOf = import ./images.nix { inherit fetch; sources = import ./sources.nix; layersOf = import ./layers.nix; };

  # The locks in a folder, by environment.
  locksIn = folder: listToAttrs (concatLists (map
    (file:
      let name = match "(.*)\\.json" file;
      in
      if name == null then [ ] else
      let lock = whole (fromJSON (readFile (folder + "/${file}")));
      in
      if [ lock.environment ] != name then throw "${file}: expected the lock of ${head name}, found that of ${lock.environment}"
      else [{ name = lock.environment; value = lock; }])
    (attrNames (readDir folder))));

  # environment → platform → image, as `system` makes them. Any system makes any platform's images.
  on = system: { lockfiles, src }: mapAttrs (_: imagesOf interpreters.${system} src) (locksIn lockfiles);

  # `msa_env-arm64`: an image by its environment and its architecture.
  byArchitecture = environments: listToAttrs (concatLists (attrValues (mapAttrs
    (environment: images: map
      (platform: { name = "${environment}-${baseNameOf platform}"; value = images.${platform}; })
      (attrNames images))
    environments)));

  # `msa_env`: the image of the system's own platform, or of the lock's first where the lock has it not.
  byName = system: mapAttrs (_: images: images.${interpreters.${system}.platform} or (head (attrValues images)));

  perSystem = make: project: mapAttrs (system: _: make system (on system project)) interpreters;
in
{
  # { lockfiles, src } → system → name → an OCI image layout. `lockfiles` is the folder of the locks, `src` the project's
  # root, which copied files and local wheels are relative to.
  images = perSystem (system: found: byArchitecture found // byName system found);

  # The same → for every image that its lock pins, a derivation that fails where the image is another one.
  checks = perSystem (_: found:
    let every = byArchitecture found;
    in listToAttrs (concatLists (map
      (name: if every.${name}.pinned then [{ inherit name; value = every.${name}.check; }] else [ ])
      (attrNames every))));

  # For tests and the curious.
  inherit fetch interpreters whole;
  layers = import ./layers.nix;
}
