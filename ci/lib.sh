# shellcheck shell=bash
# Shared by the scripts of this folder: messages, and how programs are built for AArch64 and run.

readonly AARCH64=aarch64-unknown-linux-gnu
# The profile of all that CI builds, so that it is built once.
readonly PROFILE=ci
# The second reader of GGUF files is no part of the program unless it is named.
readonly FEATURES=siskin-cli/second-reader
readonly QEMU=(qemu-aarch64 -cpu cortex-a72) # a Raspberry Pi 4: no dot-product instructions
# The ARM tiers, each with a CPU whose best it is: Raspberry Pi 4, Raspberry Pi 5, and all that QEMU knows.
# shellcheck disable=SC2034 # For the scripts that read this file.
readonly ARM_TIERS=(neon:cortex-a72 neon-dotprod:cortex-a76 neon-i8mm:max)

headline() { printf '\n== %s\n' "$*"; }

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Whether this rustc has the AArch64 standard library.
has_aarch64_std() { # RUSTC
    compgen -G "$("$1" --print target-libdir --target "$AARCH64")/libstd-*.rlib" >/dev/null
}

# The compiler of AArch64 programs: rustup's where it has the target, else Debian's.
aarch64_rustc() {
    if has_aarch64_std rustc; then
        echo rustc
    elif [ -x /usr/bin/rustc ] && has_aarch64_std /usr/bin/rustc; then
        echo /usr/bin/rustc
    else
        return 1
    fi
}

# Cargo for AArch64. Programs are linked statically: those with threads hang under qemu where they are not. The caller's
# own RUSTFLAGS would take the place of that.
aarch64_cargo() { # SUBCOMMAND [ARGUMENT...]
    local rustc rustdoc=rustdoc
    rustc=$(aarch64_rustc) || fail "no AArch64 standard library: rustup target add $AARCH64"
    if [ "$rustc" != rustc ]; then rustdoc=$(dirname "$rustc")/rustdoc; fi
    env -u RUSTFLAGS -u RUSTDOCFLAGS RUSTC="$rustc" RUSTDOC="$rustdoc" \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="${QEMU[*]}" \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static" \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTDOCFLAGS="-C target-feature=+crt-static" \
        cargo "$1" --target "$AARCH64" "${@:2}"
}

# Whether AArch64 is foreign here.
crossing() { [ "$(uname -m)" != aarch64 ]; }

# Builds the programs, for AArch64 too. Tests and programs are built by the same command, since features of what both use
# would differ otherwise, and all of it be built twice.
build_programs() {
    cargo test --no-run --workspace --features "$FEATURES" --locked --profile "$PROFILE"
    if crossing; then aarch64_build; fi
}

# What is asked under qemu: what has an architecture of its own, and the program without what has none.
aarch64_build() {
    aarch64_test cortex-a72 --lib --test kernels --test model --no-run
    aarch64_cargo build "${CROSSED[@]}" --bin siskin --test kernels
}

# Always the same packages and features, and always a test among the targets: features of what tests need would differ
# otherwise, and the engine be built again.
readonly CROSSED=(--locked --profile "$PROFILE" --package siskin-compute --package siskin --package siskin-cli
    --no-default-features --features siskin-cli/demo,siskin-cli/inspect,siskin-cli/convert,siskin-cli/tiers,siskin-cli/types,siskin/training)

aarch64_test() { # CPU [ARGUMENT...]
    aarch64_cargo test "${CROSSED[@]}" \
        --config "target.$AARCH64.runner = 'qemu-aarch64 -cpu $1'" "${@:2}"
}

# A program of this workspace.
built() { # PROGRAM [ARGUMENT...]
    "${CARGO_TARGET_DIR:-target}/$PROFILE/$1" "${@:2}"
}

siskin() { built siskin "$@"; }

siskin_aarch64() { "${QEMU[@]}" "${CARGO_TARGET_DIR:-target}/$AARCH64/$PROFILE/siskin" "$@"; }

# The same on another CPU.
siskin_on() { # CPU [ARGUMENT...]
    qemu-aarch64 -cpu "$1" "${CARGO_TARGET_DIR:-target}/$AARCH64/$PROFILE/siskin" "${@:2}"
}

# The ways in that are fuzzed.
fuzz_targets() {
    local file
    for file in fuzz/fuzz_targets/*.rs; do basename "$file" .rs; done
}

# The nightly toolchain, with a component of it.
nightly_with() { # COMPONENT
    command -v rustup >/dev/null || fail "rustup is missing: https://rustup.rs"
    rustup toolchain list | grep -q '^nightly' || rustup toolchain install nightly --profile minimal
    rustup component add --toolchain nightly "$1"
}
