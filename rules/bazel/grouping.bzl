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
      A list of `struct(spec, artifacts, of)`: the layer's spec as the assembler takes it (a dict), the rows of the
      lock whose bytes it needs, and for a layer of bytecode the one of its modules.
    """
    locked = lock["platforms"][platform]
    recipe = lock["recipe"]
    return (
        _debian(locked, recipe, layout) +
        _conda(locked, recipe, layout) +
        _wheels(locked, recipe, layout) +
        _sealed(locked, layout)
    )

def copies(lock):
    """The indexes of the recipe's steps that copy local files: one layer each."""
    return [i for i, step in enumerate(lock["recipe"]["steps"]) if step["kind"] == "copy"]

def interpreter(locked, recipe):
    """Which interpreter an image has, as layers of bytecode know it (`flyte_build/deriving/bytecode.py`)."""
    python = locked.get("python")
    if python:
        words = python["file"].split("-")
        plain = len(words) > 2 and words[0] == "cpython" and len(words[1].split(".")) > 2
        return words[1] if plain else python["version"]
    for deb in locked["debs"]:
        if deb["name"] == "python" + recipe["python"]:
            return deb["version"]
    return recipe["python"]

def environment(recipe):
    """The environment of conda packages that Python's own are installed into; None where there is none."""
    for step in recipe["steps"]:
        if step["kind"] == "conda":
            return step
    return None

def _conda(locked, recipe, layout):
    """The large packages each in a layer of its own, as many as may, the others together."""
    step = environment(recipe)
    every = sorted(locked.get("conda", []), key = lambda p: p["name"])
    large = sorted([p for p in every if p["size"] >= layout["large_package"]], key = lambda p: (-p["size"], p["name"]))
    alone = {p["name"]: None for p in large[:layout["most_alone"]]}
    others = [p for p in every if p["name"] not in alone]
    groups = [[p] for p in every if p["name"] in alone] + ([others] if others else [])
    return [
        _layer(
            _spec(
                "conda",
                layout,
                prefix = step["prefix"],
                site = "lib/python%s/site-packages" % step["python"],
                packages = _rows(group),
            ),
            group,
        )
        for group in groups
    ]

def _compiled(recipe):
    return recipe.get("bytecode") == "layer"

def _layer(spec, artifacts):
    return struct(spec = spec, artifacts = artifacts, of = None)

def _with_bytecode(of, locked, recipe, layout, folder):
    """A layer, and that of its modules' bytecode where the image has such."""
    if not _compiled(recipe):
        return [of]
    spec = _spec(
        "bytecode",
        layout,
        python = recipe["python"],
        by = interpreter(locked, recipe),
        folders = [folder],
        rules = layout["bytecode_rules"],
        of = {key: value for key, value in of.spec.items() if key != "title"},
    )
    return [of, struct(spec = spec, artifacts = [], of = of)]

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
    python = locked.get("python")
    found = []
    for i, group in enumerate(groups):
        if group or i == 0:
            layer = _layer(_spec("debian", layout, debs = _rows(group)), group)
            own = i == 0 and not python
            folder = "/usr/lib/python" + (recipe["python"] or "")
            found += _with_bytecode(layer, locked, recipe, layout, folder) if own else [layer]
    interpreter = {}
    if python:
        minor = python["version"].rpartition(".")[0]
        spec = _spec("python", layout, python = minor, prefix = layout["prefix"], archives = _rows([python]))
        folder = "%s/lib/python%s" % (layout["prefix"], recipe["python"])
        found += _with_bytecode(_layer(spec, [python]), locked, recipe, layout, folder)
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
    return found + [_layer(system, debs)]

def _wheels(locked, recipe, layout):
    steps = sorted({w["step"]: None for w in locked["wheels"]}.keys())
    copied = len([s for s in recipe["steps"] if s["kind"] in ("copy", "commands")])
    ceiling = recipe.get("layer_ceiling") or layout["layer_ceiling"]
    spread = {w["name"]: -(-2 * w["size"] // ceiling) for w in locked["wheels"] if w["size"] > ceiling}
    beside = len(steps)
    for parts in spread.values():
        beside += parts
    under = (4 if locked.get("python") else 3) + (1 if _compiled(recipe) else 0) + len(_conda(locked, recipe, layout))

    # With bytecode, each has another one beside it.
    room = max((layout["max_layers"] - under - copied) // (2 if _compiled(recipe) else 1) - beside, 0)
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
    folder = "%s/lib/python%s/site-packages" % (layout["venv"], recipe["python"])
    pairs = [_with_bytecode(layer, locked, recipe, layout, folder) for layer in found]
    return [layer for pair in pairs for layer in pair]

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
    site = environment(recipe)
    spec = _spec(
        "wheels",
        layout,
        python = site["python"] if site else recipe["python"],
        venv = site["prefix"] if site else layout["venv"],
        wheels = _rows(ordered),
        **more
    )
    return _layer(spec, ordered)

def _sealed(locked, layout):
    """What sealed steps changed: layers that are there already, by the digest in the lock; none where it is nothing."""
    found = []
    for seal in locked.get("seals", []):
        if seal["diff_id"] == layout["empty_layer"]:
            continue
        sha256 = seal["digest"].removeprefix("sha256:")
        spec = _spec(
            "sealed",
            layout,
            digest = seal["digest"],
            size = seal["size"],
            diff_id = seal["diff_id"],
            media_type = "application/vnd.oci.image.layer.v1.tar+gzip",
        )
        found.append(_layer(spec, [{"file": "sealed-%s.tar.gz" % sha256[:16], "sha256": sha256}]))
    return found
