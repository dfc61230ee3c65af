#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# submit.sh PARTS BASE DELTA OUT [SBATCH-OPTION...]
# Submits array.sh with PARTS tasks, and finish.sh to run when all of them have ended well. Options go to both:
#     contrib/slurm/submit.sh 8 /models/llama-65b /models/delta-65b /models/llava-65b --partition=short
# When a task has failed for good, finish.sh does not run: mend what was wrong and submit the same again. Parts that are
# done end at once. Prints the numbers of both jobs.
set -eu

if [ $# -lt 4 ]; then
    echo 'usage: submit.sh PARTS BASE DELTA OUT [SBATCH-OPTION...]' >&2
    exit 2
fi
parts=$1 BASE=$2 DELTA=$3 OUT=$4
shift 4
export BASE DELTA OUT
here=$(cd "$(dirname "$0")" && pwd)
array=$(sbatch --parsable --array="1-$parts" "$@" "$here/array.sh")
finish=$(sbatch --parsable --dependency="afterok:${array%%;*}" --kill-on-invalid-dep=yes "$@" "$here/finish.sh")
echo "parts: ${array%%;*}, finish: ${finish%%;*}"
