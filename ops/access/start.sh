#!/bin/sh
# Redis with its users, in a container and in the local stack: start.sh state|broker [its configuration file] [options].
# The password of each user is in BOOMERANG_REDIS_PASSWORD_<USER>, letters and digits.
set -eu
umask 077
here=$(dirname "$0")
# Each line becomes a JSON object, our own ones too. This is the same script again, without that.
if [ "${BOOMERANG_LOG_FORMAT:-}" = json ]; then
  export BOOMERANG_LOG_FORMAT=text
  exec sh "$here/json_log.sh" sh "$0" "$@"
fi
users=${TMPDIR:-/tmp}/users.acl
# Since 7.2 a client says which library it uses. Older servers do not know the word, and would not start with it.
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
