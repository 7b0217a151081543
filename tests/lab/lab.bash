# shellcheck shell=bash
# The lab, whole: `. tests/lab/lab.bash` (bats: `load lab/lab`), then lab_up and,
# at the end, lab_down. README.md says what there is.

# Helpers import each other from the source tree, which stays clean.
export PYTHONDONTWRITEBYTECODE=1

_lab=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=tests/lab/namespace.bash
. "$_lab/namespace.bash"
# shellcheck source=tests/lab/topology.bash
. "$_lab/topology.bash"
# shellcheck source=tests/lab/node.bash
. "$_lab/node.bash"
# shellcheck source=tests/lab/probe.bash
. "$_lab/probe.bash"
unset _lab
