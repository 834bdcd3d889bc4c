#!/bin/sh
# subpel: @MISSING@ of @SEGMENTS@ segments, @WORKERS@ at once on this machine, then the join.@FORECAST@
#     sh THIS_FILE [options of parallel, such as --progress]
# If this is killed, start it again: a segment that is whole is not made twice.
program=@PROGRAM@
job=@JOB@
output=@OUTPUT@

# GNU parallel pastes words into a command for a shell: paths go around it.
{ @RANGES@ } | SUBPEL=$program SUBPEL_JOB=$job PARALLEL_SHELL=/bin/sh parallel -j@WORKERS@ --retries @TRIES@ "$@" '"$SUBPEL" run-segment --trust-receipt --threads @CPUS@ "$SUBPEL_JOB" {}' || exit
[ -n "$output" ] || exit 0
"$program" join @OVERWRITE@"$job" -o "$output"
