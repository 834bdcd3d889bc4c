#!/usr/bin/env bash
# Checks that everything needed to build and test subpel is here; installs what is missing where that needs no
# question (Debian and Ubuntu, as root or with password-less sudo), otherwise says what to run and fails.
# Silent when there is nothing to do.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

# The FFmpeg libraries by their pkg-config names. The oldest FFmpeg known to work is 5.1.
libraries=(libavcodec libavformat libavutil libavfilter libavdevice libswscale libswresample)
debian=(pkg-config gcc libc6-dev clang libclang-dev ffmpeg "${libraries[@]/%/-dev}")

have() { command -v "$1" >/dev/null 2>&1; }

# bindgen reads FFmpeg's headers through libclang when the crate is built.
have_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return
    case "$(uname -s)" in
    Darwin) xcode-select -p >/dev/null 2>&1 || [ -d /opt/homebrew/opt/llvm ] || [ -d /usr/local/opt/llvm ] ;;
    *)
        # The headers of the compiler itself come with the program.
        have clang || return
        compgen -G '/usr/lib*/libclang*.so*' >/dev/null || compgen -G '/usr/lib/*/libclang*.so*' >/dev/null ||
            compgen -G '/usr/lib/llvm*/lib*/libclang*.so*' >/dev/null || compgen -G '/usr/local/lib*/libclang*.so*' >/dev/null
        ;;
    esac
}

# Names of what is missing, one a line.
missing() {
    have cc || echo "a C compiler"
    have pkg-config || echo "pkg-config"
    if have pkg-config; then
        for library in "${libraries[@]}"; do
            pkg-config --exists "$library" || echo "$library (headers)"
        done
    fi
    have_libclang || echo "clang and libclang"
    have ffmpeg && have ffprobe || echo "the programs ffmpeg and ffprobe (demo and tests)"
}

advise() {
    say "On Debian or Ubuntu:  apt-get update && apt-get install -y ${debian[*]}"
    say "On Fedora:            dnf install -y gcc pkgconf-pkg-config clang clang-devel ffmpeg-free ffmpeg-free-devel"
    say "On Arch:              pacman -S --needed base-devel pkgconf clang ffmpeg"
    say "On macOS:             xcode-select --install; brew install pkgconf llvm ffmpeg"
}

lacking=$(missing)
if [ -n "$lacking" ]; then
    say "Missing:"
    say "$(sed 's/^/  /' <<<"$lacking")"
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if have sudo && sudo -n true 2>/dev/null; then as_root=(sudo -n); else as_root=(no); fi
    fi
    if have apt-get && [ "${as_root[*]:-}" != no ]; then
        say "Installing with apt-get."
        # DPkg::Lock::Timeout: another installation may be running, as it does just after a machine has started.
        apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
        "${apt[@]}" update </dev/null >&2
        "${apt[@]}" install -y --no-install-recommends "${debian[@]}" </dev/null >&2
    else
        advise
        exit 1
    fi
    lacking=$(missing)
    if [ -n "$lacking" ]; then
        say "Still missing after the installation:"
        say "$(sed 's/^/  /' <<<"$lacking")"
        exit 1
    fi
fi

# A fresh rustup installation is not yet on the path of the shell that ran it.
if ! have cargo && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    say "cargo is in ${CARGO_HOME:-$HOME/.cargo}/bin, which is not on PATH. Run:  . \"${CARGO_HOME:-$HOME/.cargo}/env\""
    exit 1
fi
needs=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
if ! have cargo; then
    say "Missing: Rust $needs or newer. To install it, with its package manager rustup:"
    say "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . \"\$HOME/.cargo/env\""
    exit 1
fi
has=$(cargo --version | awk '{ print $2 }')
if [ "$(printf '%s\n%s\n' "$needs" "${has%%-*}" | sort -V | head -n 1)" != "$needs" ]; then
    say "Rust $needs or newer is needed, cargo is $has. Run:  rustup update stable"
    exit 1
fi
