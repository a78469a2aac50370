# Which layers of artifacts an image has, in the language of Nix: what has to be known before anything is built.
#
# The rules are `flyte_build/deriving/derivation.py`'s. They are here a second time only because a derivation a layer must exist
# while Nix evaluates, and evaluation runs no Python. A test holds the two against each other, and the step that joins
# layers looks each one up by the hash of its spec: a difference is an error there, never another image.
#
# Takes a lock (as `lock.nix` makes it of its file) and a platform of it; gives a list of { spec, artifacts }: what the assembler is
# told, and the lock's rows of what it needs. A layer of bytecode has `of` besides, the layer of its modules. Local files, working directories and configuration are not here: the
# joining step makes them from the lock.

let
  inherit (builtins) attrValues elemAt filter foldl' genList groupBy head length listToAttrs map sort;

  layout = builtins.fromJSON (builtins.readFile ../layout.json);

  byName = sort (a: b: a.name < b.name);
  named = map (a: { inherit (a) file sha256; });
  take = n: list: genList (elemAt list) (if n < length list then n else length list);
  # A title is part of the image and not of the layer; the assembler only wants to have one for its messages.
  spec = kind: fields: { inherit kind; inherit (layout) assembler; title = kind; } // fields;

  # The environment of conda packages that Python's own are installed into; null where there is none.
  environment = lock:
    let found = filter (s: s.kind == "conda") lock.recipe.steps;
    in if found == [ ] then null else head found;

  # The large packages each in a layer of its own, as many as may, the others together.
  conda = lock: locked:
    let
      step = environment lock;
      every = byName (locked.conda or [ ]);
      large = sort (a: b: if a.size == b.size then a.name < b.name else a.size > b.size)
        (filter (p: p.size >= layout.large_package) every);
      alone = listToAttrs (map (p: { inherit (p) name; value = true; }) (take layout.most_alone large));
      others = filter (p: !(alone ? ${p.name})) every;
      groups = map (p: [ p ]) (filter (p: alone ? ${p.name}) every) ++ (if others == [ ] then [ ] else [ others ]);
    in
    map
      (artifacts: {
        inherit artifacts;
        spec = spec "conda" {
          inherit (step) prefix;
          site = "lib/python${step.python}/site-packages";
          packages = named artifacts;
        };
      })
      groups;

  # Whether modules have their bytecode in layers, and by which interpreter (`flyte_build/deriving/bytecode.py`).
  compiled = lock: (lock.recipe.bytecode or "none") == "layer";
  interpreter = lock: locked:
    let
      archive = builtins.match "cpython-([0-9]+\\.[0-9]+\\.[0-9]+[^-]*)-.*" locked.python.file;
      package = filter (d: d.name == "python${lock.recipe.python}") locked.debs;
    in
    if (locked.python or null) != null then (if archive == null then locked.python.version else head archive)
    else if package == [ ] then lock.recipe.python
    else (head package).version;
  # A layer, and that of its modules' bytecode where the image has such.
  withBytecode = lock: locked: folder: of:
    if !compiled lock then [ of ] else [
      of
      {
        artifacts = [ ];
        inherit of;
        spec = spec "bytecode" {
          inherit (lock.recipe) python;
          by = interpreter lock locked;
          folders = [ folder ];
          rules = layout.bytecode_rules;
          of = removeAttrs of.spec [ "title" ];
        };
      }
    ];

  debian = lock: locked:
    let
      # A lock holds a package once, so the name alone decides.
      every = byName locked.debs;
      group = artifacts: { inherit artifacts; spec = spec "debian" { debs = named artifacts; }; };
      asked = filter (d: !d.base) every;
      python = locked.python or null;
      minor = builtins.head (builtins.match "([0-9]+\\.[0-9]+)\\..*" python.version);
    in
    (
      let base = group (filter (d: d.base) every);
      in if python == null then withBytecode lock locked "/usr/lib/python${lock.recipe.python}" base else [ base ]
    )
    ++ (if asked == [ ] then [ ] else [ (group asked) ])
    ++ (if python == null then [ ] else withBytecode lock locked "${layout.prefix}/lib/python${lock.recipe.python}" {
      artifacts = [ python ];
      spec = spec "python" { python = minor; inherit (layout) prefix; archives = named [ python ]; };
    })
    ++ [{
      artifacts = every;
      spec = spec "system" ({
        inherit (locked) suite;
        inherit (lock.recipe) python;
        inherit (layout) venv user;
        debs = named every;
      } // (if python == null then { } else {
        interpreter = "${layout.prefix}/bin/python${minor}";
        inherit (python) version;
      }));
    }];

  wheels = lock: locked:
    let
      steps = sort (a: b: a < b)
        (map (group: (head group).step) (attrValues (groupBy (w: toString w.step) locked.wheels)));
      copies = length (filter (s: s.kind == "copy" || s.kind == "commands") lock.recipe.steps);
      ceiling = lock.recipe.layer_ceiling or layout.layer_ceiling;
      parts = w: if w.size <= ceiling then 1 else (2 * w.size + ceiling - 1) / ceiling;
      spread = filter (w: w.size > ceiling) locked.wheels;
      # With bytecode, each has another one beside it.
      under = (if locked ? python then 4 else 3) + (if compiled lock then 1 else 0) + length (conda lock locked);
      site = environment lock;
      room = (layout.max_layers - under - copies) / (if compiled lock then 2 else 1) - length steps
        - foldl' (sum: w: sum + parts w) 0 spread;
      large = sort (a: b: if a.size == b.size then a.name < b.name else a.size > b.size)
        (filter (w: w.step > 0 && w.size >= layout.large_wheel && w.size <= ceiling) locked.wheels);
      alone = listToAttrs (map (w: { inherit (w) name; value = true; })
        (take (if room > 0 then room else 0) large ++ spread));
      group = more: artifacts: {
        inherit artifacts;
        spec = spec "wheels" ({
          python = if site == null then lock.recipe.python else site.python;
          venv = if site == null then layout.venv else site.prefix;
          wheels = named artifacts;
        } // more);
      };
      own = w:
        let of = parts w;
        in
        if of == 1 then [ (group { } [ w ]) ]
        else genList (i: group { part = { number = i + 1; inherit of ceiling; }; } [ w ]) of;
      # In the order of file names, as many to a layer as the ceiling allows.
      fill = found: w:
        if found.full != [ ] && found.size + w.size > ceiling
        then { done = found.done ++ [ found.full ]; full = [ w ]; inherit (w) size; }
        else found // { full = found.full ++ [ w ]; size = found.size + w.size; };
      groups = some:
        let last = foldl' fill { done = [ ]; full = [ ]; size = 0; } (sort (a: b: a.file < b.file) some);
        in map byName (last.done ++ (if last.full == [ ] then [ ] else [ last.full ]));
      ofStep = step:
        let
          members = byName (filter (w: w.step == step) locked.wheels);
          small = filter (w: !(alone ? ${w.name})) members;
        in
        builtins.concatLists (map own (filter (w: alone ? ${w.name}) members)) ++ map (group { }) (groups small);
    in
    builtins.concatLists (map
      (withBytecode lock locked "${layout.venv}/lib/python${lock.recipe.python}/site-packages")
      (builtins.concatLists (map ofStep steps)));

  # What sealed steps changed: layers that are there already, by the digest in the lock; none of a step that changed nothing.
  sealed = locked:
    map
      (seal:
        let sha256 = builtins.substring 7 64 seal.digest;
        in {
          artifacts = [{ inherit sha256; file = "sealed-${builtins.substring 0 16 sha256}.tar.gz"; }];
          spec = spec "sealed" {
            inherit (seal) digest size diff_id;
            media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
          };
        })
      (filter (seal: seal.diff_id != layout.empty_layer) (locked.seals or [ ]));
in
{ inherit environment interpreter; __functor = _: lock: platform:
let
  at = "the lock of ${lock.environment}";
  locked = lock.platforms.${platform} or (throw "${at} has no platform ${platform}");
in
if lock.schema != layout.lock_schema then
  throw "${at}: expected schema ${toString layout.lock_schema}, found ${toString lock.schema}"
else if lock.recipe.base.kind != "debian" then
  throw "${at}: its base is an image of a registry, and Nix builds on Debian's packages only: use `flyte-build build`"
else
  debian lock locked ++ conda lock locked ++ wheels lock locked ++ sealed locked;
}
