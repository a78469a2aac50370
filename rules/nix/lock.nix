# A lock as the rules want it: every platform with all of its packages, and every row with all that the file leaves out
# because it follows (docs/locks.md). The rules are `flyte_build/locks/rows.py`'s. A file of schema 1 stays as it is.

let
  inherit (builtins) head mapAttrs match;

  deb = row:
    let later = match "[^:]*:(.*)" row.version;
    in
    {
      file = "${row.name}_${if later == null then row.version else head later}_${row.architecture}.deb";
      source = row.name;
      archive = "debian";
      component = "main";
      base = true;
    } // row;
in
lock: removeAttrs lock [ "debs" "wheels" ] // {
  platforms = mapAttrs
    (_: locked: locked // {
      debs = map deb ((lock.debs or [ ]) ++ locked.debs);
      wheels = (lock.wheels or [ ]) ++ locked.wheels;
    } // (if locked ? tools then { tools = map deb locked.tools; } else { }))
    lock.platforms;
}
