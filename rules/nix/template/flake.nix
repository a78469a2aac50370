{
  inputs.flyte-build.url = "github:OWNER/flyte-build"; # where flyte-build's flake is for you
  outputs = { self, flyte-build }: { packages = flyte-build.lib.images { lockfiles = ./lockfiles; src = self; }; };
}
