#!/bin/sh
# A line for each test in a log of test.sh's: SUITE::TEST, and ok, FAILED or skipped.
#
#   checks.sh LOG
#
# A skip is said on a line of its own, by a test that passes in libtest's eyes.
awk '/^test .* \.\.\. / { done[$2] = $NF }
     /skip: [a-z0-9_:]+: / { sub(/.*skip: /, ""); sub(/: .*/, ""); skipped[$0] = 1 }
     /^suite [^ ]+: / {
         suite = $2
         sub(/:.*/, "", suite)
         for (test in done) { name = suite "::" test; print name, (name in skipped ? "skipped" : done[test]) }
         delete done
     }' "$1" | sort
