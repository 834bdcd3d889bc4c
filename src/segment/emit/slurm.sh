#!/bin/sh
# subpel: @MISSING@ of @SEGMENTS@ segments in @TASKS@ tasks, then the join.@FORECAST@
# Submit with
#     sh THIS_FILE [options of sbatch, such as --partition=NAME --account=NAME --time=H:MM:SS]
# It submits itself twice: as an array of tasks, and as a job that joins their segments once all of them are whole.
# If a task fails for good the join is taken back: `subpel status JOB` says why, then emit and submit again.
# Submitting this file again does no harm: a segment that is whole is not made twice.
program=@PROGRAM@
job=@JOB@
output=@OUTPUT@
segments=@SEGMENTS@ pack=@PACK@ cpus=@CPUS@ join_cpus=@JOIN_CPUS@ attempts=@ATTEMPTS@

# Ends with exit code $1. 75 asks for another try: Slurm is told to queue task $2 again, which its owner may do.
finish() {
    [ "$1" -eq 75 ] || exit "$1"
    if [ "${SLURM_RESTART_COUNT:-0}" -ge "$attempts" ]; then
        echo "given up after ${SLURM_RESTART_COUNT:-0} restarts" >&2
        exit 74
    fi
    # Slurm ends this task while it sleeps.
    scontrol requeue "$2" && sleep 300
    exit 75
}

case ${1-} in
subpel-segments)
    n=$(((SLURM_ARRAY_TASK_ID - 1) * pack + 1))
    last=$((SLURM_ARRAY_TASK_ID * pack))
    [ "$last" -le "$segments" ] || last=$segments
    failed=0
    while [ "$n" -le "$last" ]; do
        "$program" run-segment --trust-receipt --threads "$cpus" --max-restarts "$attempts" "$job" "$n"
        code=$?
        # Above 128: stopped by a signal, which was meant for all of the task.
        [ "$code" -le 128 ] || exit "$code"
        if [ "$code" -eq 75 ] || [ "$failed" -eq 0 ]; then failed=$code; fi
        n=$((n + 1))
    done
    finish "$failed" "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
    ;;
subpel-join)
    "$program" join --threads "$join_cpus" @OVERWRITE@"$job" -o "$output"
    finish "$?" "$SLURM_JOB_ID"
    ;;
esac

if ! [ -f "$0" ]; then
    echo "save this to a file, and run: sh FILE" >&2
    exit 2
fi
tasks=$(sbatch --parsable --job-name=subpel --output=subpel-%A_%a.log --open-mode=append --requeue \
    --cpus-per-task=@CPUS@ --mem=@MEMORY@M --array=@ARRAY@ "$@" "$0" subpel-segments) || exit
echo "array job ${tasks%%;*}: @TASKS@ tasks"
[ -n "$output" ] || exit 0
join=$(sbatch --parsable --job-name=subpel-join --output=subpel-%j.log --open-mode=append --requeue \
    --dependency=afterok:"${tasks%%;*}" --kill-on-invalid-dep=yes \
    --cpus-per-task=@JOIN_CPUS@ --mem=@JOIN_MEMORY@M "$@" "$0" subpel-join) || exit
echo "join ${join%%;*}: waits for all of them"
