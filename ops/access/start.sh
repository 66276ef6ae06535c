#!/bin/sh
# Start Redis with its users, in a container or in the local stack: start.sh state|broker [configuration file] [options].
# BOOMERANG_REDIS_PASSWORD_<USER> is the password of each user: letters and digits. BOOMERANG_PRODUCER_QUEUES lists what
# the names of producers' queues begin with, separated by spaces or commas; by default shop. BOOMERANG_LINK_QUEUES lists
# patterns of the queues and exchanges to which the worker sends what follows a job; by default those of producers.
set -eu
umask 077
here=$(dirname "$0")
# Run this script again, with its output converted to JSON.
if [ "${BOOMERANG_LOG_FORMAT:-}" = json ]; then
  export BOOMERANG_LOG_FORMAT=text
  exec sh "$here/json_log.sh" sh "$0" "$@"
fi
users=${TMPDIR:-/tmp}/users.acl
# Since Redis 7.2 a client names its library. Older servers reject the rule, and would not start.
version=$(redis-server --version | sed 's/.*v=\([0-9]*\)\.\([0-9]*\).*/\1\2/')
[ "$version" -ge 72 ] && more=" +client|setinfo" || more=
# Keys that a user may only read exist since 7.0.
[ "$version" -ge 70 ] && read="%R~" || read="~"
# Selectors exist since 7.0. This one counts a queue of any name, and gives no other access to it.
[ "$version" -ge 70 ] && count=" (+llen ~*)" || count=
queues=${BOOMERANG_PRODUCER_QUEUES:-shop}
case $queues in *[!A-Za-z0-9._:,\ -]*)
  echo "BOOMERANG_PRODUCER_QUEUES: $queues: must be beginnings of names, of letters, digits and . _ : -, and spaces" >&2
  exit 1 ;;
esac
links=${BOOMERANG_LINK_QUEUES:-}
case $links in *[!A-Za-z0-9._:,*?\ -]*)
  echo "BOOMERANG_LINK_QUEUES: $links: must be patterns of letters, digits and . _ : - * ?, and spaces" >&2
  exit 1 ;;
esac
more=$more count=$count queues=$queues links=$links read=$read awk '
  /^#/ || !NF { next }
  $4 == ">PASSWORD" {
    name = "BOOMERANG_REDIS_PASSWORD_" toupper($2)
    if (ENVIRON[name] == "") { print name ": must be set" > "/dev/stderr"; exit 1 }
    $4 = ">" ENVIRON[name]
  }
  BEGIN {
    n = split(ENVIRON["queues"], names, /[ ,]+/)
    for (i = 1; i <= n; i++) if (names[i] != "") {
      keys = keys " ~" names[i] "*"
      if (ENVIRON["links"] == "") channels = channels " \\&/0." names[i] "*"
    }
    # A message with a priority is in a key with three more characters: <queue>\x06\x16<priority>.
    n = split(ENVIRON["links"], names, /[ ,]+/)
    for (i = 1; i <= n; i++) if (names[i] != "") {
      if (names[i] ~ /^\*+$/) any = " resetkeys ~*" # nothing may follow ~*
      linked = linked " ~" names[i] " ~" names[i] "??[0-9]"
      channels = channels " \\&/0." names[i] " \\&/0." names[i] "/*"
    }
  }
  $2 == "worker" { sub(/ ~shop\*/, any ? any : keys linked); sub(/ &\/0\.shop\*/, channels) }
  { sub(/%R~/, ENVIRON["read"]); sub(/\+client\|setname/, "&" ENVIRON["more"]); sub(/ ~shop\*/, keys) }
  $2 == "flower" && ENVIRON["count"] == "" { sub(/ resetchannels/, keys "&") }
  $2 == "flower" { $0 = $0 ENVIRON["count"] }
  { print }
' "$here/$1.acl" > "$users"
shift
exec redis-server "$@" --aclfile "$users"
