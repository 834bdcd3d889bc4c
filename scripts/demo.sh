#!/usr/bin/env bash
# Enlarges the sample by two with Lanczos and from several frames, puts pieces of both beside each other, and measures
# both against the rendered truth. Everything goes to demo/; what is up to date is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."

subpel=${CARGO_TARGET_DIR:-target}/release/subpel
mkdir -p demo

# Whether $1 is missing or older than any of the others.
stale() {
    local made=$1 from
    shift
    [ -e "$made" ] || return 0
    for from in "$@"; do [ "$from" -nt "$made" ] && return 0; done
    return 1
}

# Runs a command that has nothing to say unless it fails.
quietly() {
    local said
    said=$("$@" 2>&1 </dev/null) || { printf '%s\n' "$said" >&2; exit 1; }
}

clip=samples/clip.mkv
if stale demo/clip-x2.mkv $clip $subpel; then
    echo "Enlarging $clip by 2 from several frames"
    $subpel upscale $clip demo/clip-x2.mkv --overwrite </dev/null
fi
if stale demo/clip-x2-lanczos.mkv $clip $subpel; then
    echo "Enlarging $clip by 2 with Lanczos"
    $subpel upscale $clip demo/clip-x2-lanczos.mkv --method lanczos --overwrite </dev/null
fi
if stale demo/truth.mkv examples/make_samples/*.rs; then
    echo "Rendering what a camera of twice the resolution sees"
    quietly cargo run --release --quiet --example make_samples -- --truth demo/truth.mkv
fi

# Pieces of frame $1: $2 x $3 pixels at ($4, $5) of the input; input, Lanczos and several frames, all enlarged alike.
pieces() {
    local frame=$1 w=$2 h=$3 x=$4 y=$5 out=$6
    local small="crop=$w:$h:$x:$y,scale=$((6 * w)):$((6 * h)):flags=neighbor"
    local large="crop=$((2 * w)):$((2 * h)):$((2 * x)):$((2 * y)),scale=$((6 * w)):$((6 * h)):flags=neighbor"
    local take="select=eq(n\\,$frame)"
    quietly ffmpeg -nostdin -hide_banner -v error -y -i $clip -i demo/clip-x2-lanczos.mkv -i demo/clip-x2.mkv \
        -filter_complex "[0:v]$take,$small,pad=iw+6:ih[a];[1:v]$take,$large,pad=iw+6:ih[b];[2:v]$take,$large[c];[a][b][c]hstack=inputs=3" \
        -frames:v 1 -update 1 "$out"
}
for picture in "demo/text.png 28 96 64 158 112" "demo/star.png 28 84 64 34 66" "demo/street.png 76 96 64 28 62"; do
    read -r out frame w h x y <<<"$picture"
    if stale "$out" demo/clip-x2.mkv demo/clip-x2-lanczos.mkv "$0"; then pieces "$frame" "$w" "$h" "$x" "$y" "$out"; fi
done

psnr() { $subpel metrics --json "$1" demo/truth.mkv </dev/null | sed -n 's/.*"psnr_y": *\([0-9.]*\).*/\1/p' | head -n 1; }

cat <<TEXT

demo/clip-x2.mkv           640x360, from several frames; sound, subtitles, chapters and tags are the sample's own
demo/clip-x2-lanczos.mkv   640x360, each frame by itself (Lanczos)
demo/text.png, star.png, street.png
                           the same piece three times: input | Lanczos | several frames
TEXT
lanczos=$(psnr demo/clip-x2-lanczos.mkv)
several=$(psnr demo/clip-x2.mkv)
if [ -n "$lanczos" ] && [ -n "$several" ]; then
    echo "Luma PSNR against demo/truth.mkv, the same scene rendered at 640x360:"
    LC_ALL=C printf '    Lanczos %.2f dB, several frames %.2f dB\n' "$lanczos" "$several"
fi
