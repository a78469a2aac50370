# The seeds, built from their source with the locked Zig compiler: for whoever wants not to trust the committed ones.
# `nix build .#seed`, then compare: result/undeb-<system> are the bytes of rules/nix/seed/undeb-<system>.

{ fetch, system, interpreter }:

let
  wheels = builtins.fromJSON (builtins.readFile ./zig.json);
  source = builtins.path {
    path = ./.;
    name = "undeb-source";
    filter = path: _: builtins.elem (baseNameOf path) [ "build.py" "undeb.zig" "zig.json" ];
  };
in
derivation ({ name = "undeb"; } // interpreter.run [
  "${source}/build.py"
  (fetch.wheel interpreter.run "3.11" wheels.${system})
  (placeholder "out")
])
