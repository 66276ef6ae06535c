#!/bin/sh
# Run a command and write each line of its output as a JSON object: json_log.sh COMMAND [ARGUMENTS]. For Redis, which
# cannot log JSON. It forwards signals, writes the last line, and ends with the command's exit code.
set -eu

# Read lines. Those of Redis have the form <process>:<role> <day> <month> <year> <time> <level> <message>.
convert() {
  trap '' TERM INT HUP QUIT
  export LC_ALL=C
  set -f
  while IFS= read -r line || [ -n "$line" ]; do
    [ -n "$line" ] || continue
    # shellcheck disable=SC2086 - the line must be split into words
    set -- $line '' '' '' '' '' ''
    month=
    case $3 in
      Jan) month=01 ;; Feb) month=02 ;; Mar) month=03 ;; Apr) month=04 ;; May) month=05 ;; Jun) month=06 ;;
      Jul) month=07 ;; Aug) month=08 ;; Sep) month=09 ;; Oct) month=10 ;; Nov) month=11 ;; Dec) month=12 ;;
    esac
    level=WARNING process=null message=$line
    case $month:$1:$2:$4:$5:$6 in
      [01][0-9]:[0-9]*:[A-Z]:[0-3][0-9]:[12][0-9][0-9][0-9]:[0-2][0-9]:[0-5][0-9]:[0-6][0-9].[0-9][0-9][0-9]:[-.*#])
        time=$4-$month-${2}T$5+00:00
        process=${1%%:*}
        message=${line#"$1 $2 $3 $4 $5 $6 "}
        case $6 in '#') ;; '*') level=INFO ;; *) level=DEBUG ;; esac
        ;;
      *) time=$(date -u +%Y-%m-%dT%H:%M:%S+00:00) ;;
    esac
    case $message in
      *[!\ -~]* | *[\"\\]*) message=$(printf '%s' "$message" | tr -c '\040-\176' '?' | sed 's/["\\]/\\&/g') ;;
    esac
    printf '{"time": "%s", "level": "%s", "logger": "redis", "process": %s, "message": "%s"}\n' \
      "$time" "$level" "$process" "$message"
  done
}

pipe=${TMPDIR:-/tmp}/json_log.$$
mkfifo -m 600 "$pipe"
# Opening for both reading and writing does not block. Then open each end, and remove the name.
exec 3<> "$pipe" 4< "$pipe" 5> "$pipe" 3>&-
rm "$pipe"

# $! is the command once it runs. Before that it is the converter, which ignores signals.
for name in TERM INT HUP QUIT; do
  # shellcheck disable=SC2064 - expand the name now
  trap "again=yes; kill -s $name \$! 2>/dev/null || :" "$name"
done
# `exec`, because a function's redirection keeps a copy of what it closes: the reader would never see the end.
(exec <&4 4<&- 5>&- && convert) &
converter=$!
# In UTC, like the logs of the other processes.
(exec >&5 2>&1 4<&- 5>&- && TZ=UTC0 exec "$@") &
command=$!
exec 4<&- 5>&-

# A signal ends `wait`, too. A second `wait` for an ended command returns 127.
code=127 again=yes
while [ -n "$again" ]; do
  again=
  # Standard error is dropped, because the shell would print "Killed" there, which is no JSON.
  wait "$command" 2>/dev/null && new=0 || new=$?
  [ "$new" -eq 127 ] || code=$new
done
wait "$converter" || :
exit "$code"
