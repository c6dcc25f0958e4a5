#!/usr/bin/env bash
# Ask the gate whether a candidate may ship; what CI sees is the status of the last command.
#
#   gate.sh DECISION CANDIDATE OUTPUTS
#
# OUTPUTS is what the candidate answered on the cases of the suite, in any format that evalbench
# ingests. 0: it may ship. 10: blocked. 11: too few cases to tell. Anything else is an error.
# A gate that does not pass is asked once more for overrides in force.
set -uo pipefail
decision=$1 candidate=$2 outputs=$3

evalbench ingest "$outputs" --surface "$SURFACE" --run "$candidate" --suite "${SUITE:-golden}" || exit 3
evalbench gate -p decision "$decision" -p candidate "$candidate" --reports gate | tee gate.log
status=${PIPESTATUS[0]}

folder=$(dirname "$(tail -1 gate.log)")
for name in memo.md junit.xml gate.json report.html report.pdf; do
  if [ -f "$folder/$name" ]; then cp "$folder/$name" gate/; fi
done

if [ "$status" -eq 10 ] || [ "$status" -eq 11 ]; then
  number=$(sed -n 's/^gate=//p' gate.log)
  if evalbench override check --gate "$number"; then
    echo "shipped by override: the gate itself says no"
    exit 0
  fi
fi
exit "$status"
