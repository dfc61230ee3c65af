#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# totals.sh DIRECTORY...: a table of what fuzzers ran, from the logs that run.sh writes: a file for each target, in it a
# line "EPOCH CPU_SECONDS WALL_SECONDS EXECUTIONS" for each run. Logs of one name in several directories add up.
set -u

[ "$#" -gt 0 ] || {
    echo 'usage: totals.sh DIRECTORY...' >&2
    exit 2
}
find "$@" -maxdepth 1 -type f | sort | LC_ALL=C awk '
    {
        name = $0
        sub(/.*\//, "", name)
        while ((getline line <$0) > 0) {
            if (split(line, field, " ") == 4) {
                cpu[name] += field[2]
                wall[name] += field[3]
                executions[name] += field[4]
            }
        }
        if (!(name in seen)) {
            seen[name] = ++n
            names[n] = name
        }
    }
    END {
        print "| target | executions | CPU minutes | wall minutes |"
        print "|---|---|---|---|"
        for (i = 1; i <= n; i++) {
            name = names[i]
            printf "| %s | %d | %.1f | %.1f |\n", name, executions[name], cpu[name] / 60, wall[name] / 60
        }
    }'
