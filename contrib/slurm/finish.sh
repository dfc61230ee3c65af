#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Behind the tasks of array.sh: checks that all parts are there and belong together, publishes OUT, verifies it. Where
# the last part has published it already there is nothing left but to verify.
#
#SBATCH --job-name=llavamed-finish
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=1G
#SBATCH --time=02:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out
set -u

: "${OUT:?}"
"${LLAVAMED_APPLY:-llavamed-apply}" --finish --out "$OUT" || exit
"${LLAVAMED_VERIFY:-llavamed-verify}" "$OUT"
