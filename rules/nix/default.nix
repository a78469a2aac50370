# What a flake makes of locks: `images` for `packages`, `checks` for `checks`. No inputs; the built-in functions only.

let
  inherit (builtins) attrNames attrValues concatLists foldl' fromJSON listToAttrs map mapAttrs match readDir readFile;

  fetch = import ./fetch.nix;
  interpreters = import ./interpreter.nix { inherit fetch; };
  imagesOf = import ./images.nix { inherit fetch; sources = import ./sources.nix; layersOf = import ./layers.nix; };

  # The locks in a folder, by environment.
  locksIn = folder: listToAttrs (concatLists (map
    (file:
      let name = match "(.*)\\.json" file;
      in
      if name == null then [ ] else
      let lock = fromJSON (readFile (folder + "/${file}"));
      in
      if [ lock.environment ] != name then throw "${file}: expected the lock of ${builtins.head name}, found that of ${lock.environment}"
      else [{ name = lock.environment; value = lock; }])
    (attrNames (readDir folder))));

  # environment → platform → image, as `system` makes them. Any system makes any platform's images.
  on = system: { lockfiles, src }: mapAttrs (_: imagesOf interpreters.${system} src) (locksIn lockfiles);

  # `msa_env` is the system's own platform's image, or that of the lock's first platform where it has none such;
  # `msa_env-arm64` is the one for that architecture.
  named = pick: system: environments:
    let
      own = interpreters.${system}.platform;
      one = environment: images:
        [{ name = environment; value = pick (images.${own} or (builtins.head (attrValues images))); }]
        ++ map (platform: { name = "${environment}-${baseNameOf platform}"; value = pick images.${platform}; })
          (attrNames images);
    in
    listToAttrs (concatLists (attrValues (mapAttrs one environments)));

  perSystem = pick: project: mapAttrs (system: _: named pick system (on system project)) interpreters;
in
{
  # { lockfiles, src } → system → name → an OCI image layout. `lockfiles` is the folder of the locks, `src` the project's
  # root, which copied files and local wheels are relative to.
  images = perSystem (image: image);

  # The same names → a derivation that fails where the image is not the one that its lock pins.
  checks = perSystem (image: image.check);

  # For tests and the curious.
  inherit fetch interpreters;
  layers = import ./layers.nix;
}
