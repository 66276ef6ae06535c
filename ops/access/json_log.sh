#!/bin/sh
# Run a command and write each of its lines as a JSON object: json_log.sh COMMAND [ARGUMENTS]. For Redis, which has no
# such log. It passes signals on, ends with the command's exit code, and not before its last line is written.
set -eu

# Reads lines, those of Redis by its own form: <process>:<role> <day> <month> <year> <time> <level> <message>
convert() {
  trap '' TERM INT HUP QUIT
  export LC_ALL=C
  set -f
  while IFS= read -r line || [ -n "$line" ]; do
    [ -n "$line" ] || continue
    # shellcheck disable=SC2086 - words are wanted
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
# Opened both ways, which waits for nobody; then once for each side. Its name is not needed any more.
exec 3<> "$pipe" 4< "$pipe" 5> "$pipe" 3>&-
rm "$pipe"

# $! is the command once it runs, and before that the converter, which takes no notice.
for name in TERM INT HUP QUIT; do
  # shellcheck disable=SC2064 - the name is meant to be that of now
  trap "again=yes; kill -s $name \$! 2>/dev/null || :" "$name"
done
# `exec`, for a redirection of a function keeps a copy of what it closes, and the end would never be read.
(exec <&4 4<&- 5>&- && convert) &
converter=$!
# By UTC, as the other processes.
(exec >&5 2>&1 4<&- 5>&- && TZ=UTC0 exec "$@") &
command=$!
exec 4<&- 5>&-

# A signal ends a wait, too. What has been waited for already is unknown (127).
code=127 again=yes
while [ -n "$again" ]; do
  again=
  # Not heard: the shell says "Killed" there, which is no line of the log.
  wait "$command" 2>/dev/null && new=0 || new=$?
  [ "$new" -eq 127 ] || code=$new
done
wait "$converter" || :
exit "$code"
