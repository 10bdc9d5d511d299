#!/bin/sh
# For `RUSTC_WRAPPER`: coverage counters only in the crates of this project. A fuzzer that also follows Cranelift's branches
# spends its time and its corpus there.
ours=no
for argument; do
    case $argument in nki | nki_* | nkir | nkim | verifier | differential) ours=yes ;; esac
done
[ $ours = yes ] && exec "$@"
count=$#
while [ "$count" -gt 0 ]; do
    argument=$1
    shift
    case $argument in -Cpasses=* | *sanitizer-coverage* | *sancov*) ;; *) set -- "$@" "$argument" ;; esac
    count=$((count - 1))
done
exec "$@"
