# The parts of flyte_build that builders run, each as a store path of its own, so that a change elsewhere in this
# repository (the command line, say) leaves every derivation as it is.

let
  inherit (builtins) any baseNameOf match stringLength substring;
  root = ../..;
  relative = path: substring (stringLength (toString root) + 1) (-1) path;
  # Folders to go into, and the Python files in them.
  take = name: folders: builtins.path {
    path = root;
    inherit name;
    filter = path: type:
      let rel = relative path;
      in
      if type == "directory" then any (folder: folder == rel) folders
      else match ".*\\.py" rel != null && any (folder: match "${folder}/[^/]*" rel != null) folders;
  };
in
{
  # All that a layer of artifacts depends on, besides them.
  assemble = builtins.path {
    path = root + "/flyte_build/assemble";
    name = "flyte-build-assemble";
    filter = path: type: match ".*\\.py" path != null;
  };

  # What the steps need besides: a test holds it against what they import.
  stepwise = take "flyte-build-stepwise" [
    "flyte_build"
    "flyte_build/assemble"
    "flyte_build/deriving"
    "flyte_build/kernel"
    "flyte_build/locks"
    "flyte_build/recipe"
    "flyte_build/stepwise"
  ];
}
