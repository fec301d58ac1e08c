#!/usr/bin/env bash
# Calibrates, checks and measures on a machine with a GPU: wants nothing but its driver and a python3 with PyTorch.
#
#   benchmarks/gpu/run.sh panamoe-VERSION-linux-x86_64.tar.xz [FOLDER]
#
# Leaves gpu.json, gpu.md and log.txt in FOLDER (gpu-results). Takes under 9 minutes: each stage has its own limit, and
# what one stage leaves of its time the last one uses. A stage that fails is told in the report and stops nothing else.
# PANAMOE_PYTHON names another python3; PANAMOE_BACKEND=cpu tries the script itself. Clocks, power and other settings of
# the machine are left alone.
set -uo pipefail

archive=${1:?usage: run.sh panamoe-VERSION-linux-x86_64.tar.xz [FOLDER]}
mkdir -p "${2:-gpu-results}" || exit
out=$(cd "${2:-gpu-results}" && pwd)
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
python=${PANAMOE_PYTHON:-python3}
backend=${PANAMOE_BACKEND:-cuda}
total=${PANAMOE_SECONDS:-520}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
parts=$work/parts
mkdir "$parts"
: >"$out/log.txt"

say() { printf '%3d s  %s\n' $SECONDS "$*" | tee -a "$out/log.txt"; }

# The report is made after each stage: whatever ends this, what was there stays.
report() { "$python" "$here/report.py" "$parts" "$out/gpu" >>"$out/log.txt" 2>&1; }

# stage NAME SECONDS FILE COMMAND...: its output goes to FILE of the parts and, with its errors, to the log.
stage() {
    local name=$1 limit=$2 file=$3 status=0
    shift 3
    [[ $((SECONDS + limit)) -le $total ]] || limit=$((total - SECONDS))
    if [[ $limit -le 0 ]]; then
        echo "no time was left" >"$parts/$name.failed"
        return
    fi
    say "$name: at most $limit s"
    timeout --kill-after=5 "$limit" "$@" 2>>"$out/log.txt" </dev/null >"$parts/$file" || status=$?
    cat "$parts/$file" >>"$out/log.txt"
    case $status in
    0) ;;
    124 | 137) echo "it took more than $limit s" >"$parts/$name.failed" ;;
    *) echo "exit code $status" >"$parts/$name.failed" ;;
    esac
    [[ $status == 0 ]] || say "$name: $(cat "$parts/$name.failed")"
    report
}

# Not every machine has xz; Python knows the format.
unpack() {
    if command -v xz >/dev/null; then
        tar -xJf "$archive" -C "$work"
    else
        "$python" -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$archive" "$work"
    fi
}

# JUnit writes its summary to stdout. PANAMOE_REQUIRE turns a back end that is absent from a skip into a failure.
tests() {
    local name=$1 limit=$2 class=$3
    shift 3
    stage "check-$name" "$limit" "check-$name.txt" env "$@" "$panamoe" test --details=summary --disable-ansi-colors \
        --select-class="org.panamoe.backend.$class"
}

say "unpacking $archive"
unpack >>"$out/log.txt" 2>&1 || say "unpacking failed"
panamoe=$(echo "$work"/panamoe-*/panamoe)
[[ -x $panamoe ]] || echo "the archive holds no program that can be run" >"$parts/unpack.failed"

stage machine 20 machine.txt nvidia-smi
stage version 20 version.txt "$panamoe" --version
stage doctor 30 doctor.json "$panamoe" doctor --json
stage calibration 60 calibration.json "$python" "$here/peers.py" calibrate
tests kernels 110 KernelsTest PANAMOE_REQUIRE="$backend"
tests units 20 GoldenUnitsTest PANAMOE_REQUIRE="$backend"
tests twins 100 TwinTest PANAMOE_REQUIRE="$backend,cudaemu"
seconds=$((total - SECONDS - 10))
stage measured $((seconds + 5)) measured.log "$python" "$here/interleave.py" --panamoe "$panamoe" \
    --to "$parts/measured.json" --seconds "$seconds" --backend "$backend"
report
say "done: $out/gpu.json, $out/gpu.md"
cat "$out/gpu.md"
