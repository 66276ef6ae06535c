#!/bin/sh
# As in the official image, for a container that does not start as root.
set -e
if [ "${1#-}" != "$1" ] || [ "${1%.conf}" != "$1" ]; then set -- redis-server "$@"; fi
[ "$(umask)" = 0022 ] && umask 0077
exec "$@"
