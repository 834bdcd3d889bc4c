#!/bin/sh
# subpel: @MISSING@ of @SEGMENTS@ segments, then the join.@FORECAST@
# A HyperQueue server and workers have to run; this stays until the video is joined:
#     sh THIS_FILE [options of hq submit, such as --time-request=10m]
# HyperQueue starts tasks again whose worker is lost. What ended with an error is submitted again here, a few times.
# If this is killed, start it again: it goes on with what is missing.
program=@PROGRAM@
job=@JOB@
output=@OUTPUT@
attempts=@ATTEMPTS@

try=0
while :; do
    missing=$("$program" status --missing "$job")
    code=$?
    [ "$code" -ne 0 ] || break
    [ "$code" -eq 3 ] || exit "$code"
    if [ "$try" -gt "$attempts" ]; then
        "$program" status "$job" >&2
        exit 74
    fi
    hq submit --wait --name subpel --array "$missing" --crash-limit @CRASHES@ --cpus @CPUS@ --resource mem=@MEMORY@ \
        --stdout none --stderr 'subpel-%{JOB_ID}-%{TASK_ID}.log' "$@" \
        -- "$program" run-segment --trust-receipt --threads @CPUS@ --index-from-env "$job"
    try=$((try + 1))
done
[ -n "$output" ] || exit 0
hq submit --wait --name subpel-join --crash-limit @CRASHES@ --cpus @JOIN_CPUS@ --resource mem=@JOIN_MEMORY@ \
    --stdout none --stderr 'subpel-%{JOB_ID}-join.log' "$@" \
    -- "$program" join --threads @JOIN_CPUS@ @OVERWRITE@"$job" -o "$output"
