# shellcheck shell=bash
# What programs and libraries for a triple are made with. Sourced by `targets/build` and `engine/c/install`.

# The C compiler, as Debian calls it. It links what glibc is linked to, and compiles what is C in the crates.
c_compiler() { # TRIPLE
    case $1 in
    x86_64-*) echo x86_64-linux-gnu-gcc ;;
    aarch64-*) echo aarch64-linux-gnu-gcc ;;
    armv7-*) echo arm-linux-gnueabihf-gcc ;;
    riscv64gc-*) echo riscv64-linux-gnu-gcc ;;
    *) echo "${1/-unknown-/-}-gcc" ;;
    esac
}

# Debian's packages with it and with glibc for it.
c_packages() { # TRIPLE
    case $1 in
    x86_64-*) echo gcc libc6-dev ;;
    aarch64-*) echo gcc-aarch64-linux-gnu libc6-dev-arm64-cross ;;
    armv7-*) echo gcc-arm-linux-gnueabihf libc6-dev-armhf-cross ;;
    riscv64gc-*) echo gcc-riscv64-linux-gnu libc6-dev-riscv64-cross ;;
    esac
}

# What links. Rust brings musl, a linker, and all that programs for musl are linked with. Where it is nothing, rustc's own choice
# is best: that linker too.
linker() { # TRIPLE
    case $1 in
    *-musl*) echo rust-lld ;;
    x86_64-*-gnu) [ "$(uname -m)" = x86_64 ] || c_compiler "$1" ;;
    *) c_compiler "$1" ;;
    esac
}

# Options of rustc beside those of the profile, a line each: paths of this machine stand in nothing that is built, so that two machines
# build the same bytes; the 32-bit ARM is one with NEON and VFPv4, as Cortex-A7 and later have them.
rust_flags() { # TRIPLE PROFILE
    local root
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    printf -- '--remap-path-prefix=%s=%s\n' "$root" /siskin "${CARGO_HOME:-$HOME/.cargo}" /cargo
    [ -z "${CARGO_TARGET_DIR-}" ] || printf -- '--remap-path-prefix=%s=/siskin/target\n' "$CARGO_TARGET_DIR"
    case $1 in armv7-*) echo -Ctarget-cpu=cortex-a7 ;; esac
    case $2 in
    # They abort where they panic, and unwind nothing.
    dist | small) echo "-Clink-arg=-T$root/targets/no-unwind-tables.ld" ;;
    esac
    # Rust's linker folds functions that are the same, and packs relocations, which glibc reads since 2.36.
    case ${CC:-$(linker "$1")} in
    "") printf '%s\n' -Clink-arg=-zpack-relative-relocs -Clink-arg=-Wl,--icf=all ;;
    rust-lld) printf '%s\n' -Clink-arg=-zpack-relative-relocs -Clink-arg=--icf=all ;;
    esac
}

# Cargo for a triple.
cargo_for() { # TRIPLE PROFILE ARGUMENT...
    local name=${1//-/_} upper linker setting=() flags
    upper=$(tr a-z A-Z <<<"$name")
    linker=${CC:-$(linker "$1")}
    [ -z "$linker" ] || setting=("CARGO_TARGET_${upper}_LINKER=$linker")
    # Divided by what stands in no path.
    flags=$(rust_flags "$1" "$2" | tr '\n' '\037')
    env -u RUSTFLAGS "${setting[@]}" "CARGO_ENCODED_RUSTFLAGS=${flags%?}" \
        "CC_$name=${CC:-$(c_compiler "$1")}" cargo "${@:3}" --locked --target "$1" --profile "$2"
}

# A folder for what is built is the one that the caller means, from wherever it is built.
case ${CARGO_TARGET_DIR-} in
"" | /*) ;;
*) export CARGO_TARGET_DIR=$PWD/$CARGO_TARGET_DIR ;;
esac
