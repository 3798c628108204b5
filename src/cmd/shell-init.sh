#!/bin/sh
':' /*; # for the shell this does nothing; for JavaScript it begins a comment, which ends where the program begins
# The program needs no shell but as PID 1 of a container with a command to run: whatever that command leaves behind becomes a
# child of PID 1, and Node waits for no processes but those it started. A shell does, so it stays in front.
# The API server's larger buffers, of checkpoints, backups and V8's compilers, go back to the system when they are freed: glibc
# learns to keep such memory otherwise. Its young objects have three times 8 MiB instead of 16: Node takes that at its start only.
options=
case $0:$1 in
*edge-apiserver:* | *:apiserver)
  export MALLOC_MMAP_THRESHOLD_="${MALLOC_MMAP_THRESHOLD_:-32768}"
  options=--max-semi-space-size=8
  ;;
esac
init=
[ $$ -ne 1 ] || for arg; do [ "$arg" != -- ] || init=yes; done
[ "$init" ] || exec node $options "$0" "$@"
signals='HUP QUIT TERM USR1 USR2 WINCH'
[ -t 0 ] || signals="$signals INT" # a terminal sends it to everybody by itself
for signal in $signals; do trap "kill -$signal \$pid 2>/dev/null" $signal; done
exec 3<&0 # a shell takes standard input from what runs in its background
node $options "$0" "$@" <&3 3<&- &
pid=$!
wait $pid
status=$?
while kill -0 $pid 2>/dev/null; do # it was a signal that ended the wait
  wait $pid
  status=$?
done
exit $status
*/;
