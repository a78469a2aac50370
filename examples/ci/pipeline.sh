#!/bin/sh
# From a commit to images in a registry: what a CI runs, whichever it is.
#
#   sh pipeline.sh FILE [TASK]
#
# Runs the steps below one after the other, ends at the first that fails, and with its exit code. Writes nothing into
# the checkout. What flyte-build itself reads (FLYTE_BUILD_REGISTRY, FLYTE_BUILD_REMOTE_CACHE, …) is told as always, by
# pyproject.toml or the environment; only this is of the script:
#
#   PIPELINE_STEPS     which steps, in this order                     (default: lock plan push verify)
#   PIPELINE_PLATFORM  one os/arch instead of all that images are for (default: all)
#   PIPELINE_TAGS      tags for what is pushed, separated by spaces   (default: none; the identity is the digest)
#   PIPELINE_IMAGES    a file for what was pushed: a line "environment repository@sha256:…" each (default: none)
#   PIPELINE_COMMAND   the program                                    (default: flyte-build)
#
# lock    every lock answers what FILE asks for
# plan    what would be built, and that every call finds its image and its packages; annotations on GitHub
# build   the images are those that are pinned (for who may not push)
# push    the same, then into the registry; what a configured cache knows is neither built nor downloaded
# verify  all of it once more from nothing but artifacts, compared with the pins and the registry
#
# docs/ci.md says why each, and what the exit codes mean. Needs a POSIX shell. Prints no variable, so no secret.
set -euf

say() { printf '%s\n' "$*"; }

refuse() {
    printf 'pipeline: %s\n' "$*" >&2
    exit 2
}

case ${1:-} in
    "" | -*) refuse "expected FILE [TASK], found \`$*\`" ;;
esac
[ $# -le 2 ] || refuse "expected FILE [TASK], found $# arguments"

file=$1
steps=${PIPELINE_STEPS:-lock plan push verify}
platform=${PIPELINE_PLATFORM:-all}
command=${PIPELINE_COMMAND:-flyte-build}

for step in $steps; do
    case $step in
        lock | plan | build | push | verify) ;;
        *) refuse "PIPELINE_STEPS: no step \`$step\`; there are: lock, plan, build, push, verify" ;;
    esac
done

# The log, whatever a step's own output is redirected to. On GitHub, each step is a fold of it.
exec 3>&1
if [ "${GITHUB_ACTIONS:-}" = true ]; then github=yes; else github=; fi
begin() { if [ "$github" ]; then say "::group::$1" >&3; else say "==> $1" >&3; fi; }
end() { if [ "$github" ]; then say "::endgroup::" >&3; fi; }

# Runs the program; what ends it badly ends the pipeline, with the same exit code.
run() { "$command" "$@" || failed $?; }

failed() {
    end
    printf 'pipeline: %s failed with exit code %s\n' "$step" "$1" >&2
    exit "$1"
}

lock() { run lock "$file" --check; }

plan() {
    if [ "$github" ]; then
        run plan "$@" --platform "$platform" --locked --check --format github
    else
        run plan "$@" --platform "$platform" --locked --check
    fi
}

build() { run build "$@" --platform "$platform" --locked; }

push() {
    set -- "$@" --platform "$platform" --locked
    for tag in ${PIPELINE_TAGS:-}; do set -- "$@" --tag "$tag"; done
    if [ -z "${PIPELINE_IMAGES:-}" ]; then
        run push "$@"
    else
        run push "$@" --quiet >"$PIPELINE_IMAGES"
        cat "$PIPELINE_IMAGES"
    fi
}

verify() { run verify "$@" --platform "$platform"; }

for step in $steps; do
    begin "$step"
    "$step" "$@"
    end
done
