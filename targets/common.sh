# shellcheck shell=bash disable=SC2154,SC2034
# Shared by the scripts that make images and packages. Sourced with `root` set.

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Fails unless there is a subcommand of cargo.
needs() { # NAME [FLAG OF `cargo install`...]
    command -v "$1" >/dev/null || fail "$1 is missing: cargo install --locked $*"
}

# Builds the program for a triple, and sets `program`.
program() { # TRIPLE PROFILE
    "$root/targets/build" "$1" --profile "${PACKAGE_PROFILE:-$2}" ${PACKAGE_FEATURES:+--features "$PACKAGE_FEATURES"}
    program=${CARGO_TARGET_DIR:-$root/target}/$1/${PACKAGE_PROFILE:-$2}/siskin
}

# A siskin of this machine.
siskin() {
    if [ -n "${SISKIN-}" ]; then "$SISKIN" "$@"; else cargo run --quiet --release --locked --manifest-path "$root/Cargo.toml" -- "$@"; fi
}

# The version of all crates.
version() {
    sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml"
}
