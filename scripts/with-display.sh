#!/usr/bin/env bash
# Run a command on a virtual display of its own, where there is one to be had; else as it is.
set -euo pipefail
export LP_NUM_THREADS="${LP_NUM_THREADS:-2}"
if command -v xvfb-run >/dev/null; then
  exec xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX" "$@"
fi
exec "$@"
