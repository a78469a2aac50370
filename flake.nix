{
  description = "Hermetic, content-addressed images for Flyte 2: the images of lockfiles/, to the byte as flyte-build makes them";

  outputs = { self }:
    let
      lib = import ./rules/nix;

      # This repository's own: the locks of the examples, each with the folder that its files are copied from.
      projects = [
        { lockfiles = ./lockfiles; src = ./examples/af2; }
        { lockfiles = ./examples/conflict/lockfiles; src = ./examples/conflict; }
        { lockfiles = ./examples/gpu/lockfiles; src = ./examples/gpu; }
        { lockfiles = ./examples/monorepo/lockfiles; src = ./examples/monorepo; }
      ];
      merged = builtins.foldl' (all: more: builtins.mapAttrs (system: found: found // more.${system}) all);
      every = make: merged (make (builtins.head projects)) (map make (builtins.tail projects));

      seed = system: interpreter: import ./rules/nix/seed { inherit (lib) fetch; inherit system interpreter; };
    in
    {
      inherit lib;

      packages = builtins.mapAttrs
        (system: images: images // {
          default = images.msa_env;
          # The unpacker that starts it all, from its source.
          seed = seed system lib.interpreters.${system};
        })
        (every lib.images);

      # Every image that a lock of lockfiles/ pins is what the pin says. (Not the further examples': forty more images.)
      checks = lib.checks (builtins.head projects);
    };
}
