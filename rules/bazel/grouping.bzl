"""Which layers an image has, and of which artifacts: a function of its lock alone.

The same grouping as `flyte_build/deriving/derivation.py`, which stays the authority: the image action derives the image anew and
looks every layer up by its derivation, so that a difference is an error that names the layer, never another image.
Layers of local files and of working directories are not here: the actions make them, by the recipe in the lock.
"""

def whole(lock):
    """A lock with all that its file leaves out because it follows: every platform's rows, and every row's fields.

    The rules are `flyte_build/locks/rows.py`'s (docs/locks.md). A file of schema 1 stays as it is.

    Args:
      lock: a lock file, decoded.

    Returns:
      The same as a dict of its own.
    """
    platforms = {}
    for platform, locked in lock["platforms"].items():
        more = {"tools": [_deb(row) for row in locked["tools"]]} if "tools" in locked else {}
        platforms[platform] = dict(
            locked,
            debs = [_deb(row) for row in lock.get("debs", []) + locked["debs"]],
            wheels = lock.get("wheels", []) + locked["wheels"],
            **more
        )
    return dict(lock, platforms = platforms)

def _deb(row):
    version = row["version"].partition(":")[2] or row["version"]
    usual = {
        "file": "%s_%s_%s.deb" % (row["name"], version, row["architecture"]),
        "source": row["name"],
        "archive": "debian",
        "component": "main",
        "base": True,
    }
    return dict(usual, **row)

def image_layers(lock, platform, layout):
    """The layers of artifacts of one platform's image.

    Args:
      lock: a lock, as `whole` makes it.
      platform: such as `linux/amd64`; one of the lock's.
      layout: `rules/layout.json`, decoded: the numbers and names that the grouping depends on.

    Returns:
      A list of `struct(spec, artifacts)`: the layer's spec as the assembler takes it (a dict), and the rows of the
      lock whose bytes it needs.
    """
    locked = lock["platforms"][platform]
    recipe = lock["recipe"]
    return _debian(locked, recipe, layout) + _wheels(locked, recipe, layout) + _sealed(locked, layout)

def copies(lock):
    """The indexes of the recipe's steps that copy local files: one layer each."""
    return [i for i, step in enumerate(lock["recipe"]["steps"]) if step["kind"] == "copy"]

def _spec(kind, layout, **fields):
    return dict(fields, kind = kind, assembler = layout["assembler"], title = kind)

def _rows(artifacts):
    return [{"file": a["file"], "sha256": a["sha256"]} for a in artifacts]

def _debian(locked, recipe, layout):
    debs = sorted(locked["debs"], key = lambda d: (d["name"], d["architecture"]))
    groups = [
        [d for d in debs if d["base"]],
        [d for d in debs if not d["base"]],
    ]
    found = [
        struct(spec = _spec("debian", layout, debs = _rows(group)), artifacts = group)
        for i, group in enumerate(groups)
        if group or i == 0
    ]
    python = locked.get("python")
    interpreter = {}
    if python:
        minor = python["version"].rpartition(".")[0]
        spec = _spec("python", layout, python = minor, prefix = layout["prefix"], archives = _rows([python]))
        found.append(struct(spec = spec, artifacts = [python]))
        interpreter = {"interpreter": "%s/bin/python%s" % (layout["prefix"], minor), "version": python["version"]}
    system = _spec(
        "system",
        layout,
        suite = locked["suite"],
        debs = _rows(debs),
        python = recipe["python"],
        venv = layout["venv"],
        user = layout["user"],
        **interpreter
    )
    return found + [struct(spec = system, artifacts = debs)]

def _wheels(locked, recipe, layout):
    steps = sorted({w["step"]: None for w in locked["wheels"]}.keys())
    copied = len([s for s in recipe["steps"] if s["kind"] in ("copy", "commands")])
    ceiling = recipe.get("layer_ceiling") or layout["layer_ceiling"]
    spread = {w["name"]: -(-2 * w["size"] // ceiling) for w in locked["wheels"] if w["size"] > ceiling}
    beside = len(steps) + copied
    for parts in spread.values():
        beside += parts
    room = max(layout["max_layers"] - (4 if locked.get("python") else 3) - beside, 0)
    large = sorted(
        [
            w
            for w in locked["wheels"]
            if w["step"] > 0 and w["size"] >= layout["large_wheel"] and w["name"] not in spread
        ],
        key = lambda w: (-w["size"], w["name"]),
    )
    alone = {w["name"]: None for w in large[:room]}
    found = []
    for step in steps:
        members = sorted([w for w in locked["wheels"] if w["step"] == step], key = lambda w: w["name"])
        for w in members:
            if w["name"] in spread:
                count = spread[w["name"]]
                for number in range(1, count + 1):
                    part = {"number": number, "of": count, "ceiling": ceiling}
                    found.append(_wheel_layer([w], recipe, layout, part = part))
            elif w["name"] in alone:
                found.append(_wheel_layer([w], recipe, layout))
        small = [w for w in members if w["name"] not in alone and w["name"] not in spread]
        found += [_wheel_layer(group, recipe, layout) for group in _groups(small, ceiling)]
    return found

def _groups(wheels, ceiling):
    """In the order of file names, as many to a layer as the ceiling allows."""
    groups = []
    size = 0
    for w in sorted(wheels, key = lambda w: w["file"]):
        if not groups or size + w["size"] > ceiling:
            groups.append([])
            size = 0
        groups[-1].append(w)
        size += w["size"]
    return groups

def _wheel_layer(group, recipe, layout, **more):
    ordered = sorted(group, key = lambda w: (w["name"], w["file"]))
    spec = _spec(
        "wheels",
        layout,
        python = recipe["python"],
        venv = layout["venv"],
        wheels = _rows(ordered),
        **more
    )
    return struct(spec = spec, artifacts = ordered)

def _sealed(locked, layout):
    """What sealed steps changed: layers that are there already, by the digest in the lock."""
    found = []
    for seal in locked.get("seals", []):
        sha256 = seal["digest"].removeprefix("sha256:")
        spec = _spec(
            "sealed",
            layout,
            digest = seal["digest"],
            size = seal["size"],
            diff_id = seal["diff_id"],
            media_type = "application/vnd.oci.image.layer.v1.tar+gzip",
        )
        found.append(struct(spec = spec, artifacts = [{"file": "sealed-%s.tar.gz" % sha256[:16], "sha256": sha256}]))
    return found
