#!/bin/sh
# Start Redis with its users, in a container or in the local stack: start.sh state|broker [configuration file] [options].
# BOOMERANG_REDIS_PASSWORD_<USER> is the password of each user: letters and digits.
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
more=$more awk '
  /^#/ || !NF { next }
  $4 == ">PASSWORD" {
    name = "BOOMERANG_REDIS_PASSWORD_" toupper($2)
    if (ENVIRON[name] == "") { print name ": must be set" > "/dev/stderr"; exit 1 }
    $4 = ">" ENVIRON[name]
  }
  { sub(/\+client\|setname/, "&" ENVIRON["more"]); print }
' "$here/$1.acl" > "$users"
shift
exec redis-server "$@" --aclfile "$users"
