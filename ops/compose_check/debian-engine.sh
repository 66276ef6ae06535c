#!/bin/bash
# A Docker engine of its own, for a machine that reaches Debian's packages but no registry of images.
#
#   debian-engine.sh start FOLDER [REDIS]      REDIS: 7.0 (Debian 12, the default), 8.0 (Debian 13), or a folder that
#                                              holds a redis-server and a redis-cli
#   debian-engine.sh exec FOLDER COMMAND…      runs a command that sees this engine: DOCKER_HOST, PATH, network
#   debian-engine.sh restart FOLDER            the machine goes down and comes up: every container ends and starts again
#   debian-engine.sh stop FOLDER               ends all of it; packages and base images stay in FOLDER/cache
#
# The engine has a network namespace to itself, so the machine's iptables, addresses and ports stay as they are.
# slirp4netns connects it to the world. The base images carry the names that the project's files ask for.
# It needs root and Debian 12 or 13, and installs those of the packages below that are missing.
set -euo pipefail

PACKAGES=(git iproute2 iptables mmdebstrap runc slirp4netns tini util-linux)
POOL=10.213.0.0/16 # inside the namespace only
RESOLVER=10.0.2.3  # slirp4netns's own

action=${1:?start, exec, restart or stop}
folder=${2:?a folder}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
cache=$folder/cache run=$folder/run log=$folder/engine.log
export DOCKER_HOST=unix://$run/docker.sock DOCKER_CONFIG=$folder/config PATH=$folder/bin:$PATH

fail() {
  echo "debian-engine.sh: $*" >&2
  exit 1
}

alive() { [[ -f $run/$1.pid && -d /proc/$(<"$run/$1.pid") ]]; }

# Ends one of our processes: politely, after LIMIT seconds by force.
end() {
  local pid
  alive "$1" || return 0
  pid=$(<"$run/$1.pid")
  kill "$pid"
  timeout "${2:-60}" tail --pid="$pid" -f /dev/null || kill -9 "$pid"
  rm -f "$run/$1.pid"
}

inside() { nsenter --net="/run/netns/$(<"$run/namespace")" "$@"; }

# --- what is installed, unpacked and built, once

install_packages() {
  local missing=() each
  for each in "${PACKAGES[@]}"; do dpkg -s "$each" >/dev/null 2>&1 || missing+=("$each"); done
  apt-get -o DPkg::Lock::Timeout=300 update -qq
  ((${#missing[@]} == 0)) && return
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -qq -y --no-install-recommends "${missing[@]}"
}

# Debian 12's engine has no Compose plugin. Debian 13's runs on Debian 12 too: unpacked here and not installed.
unpack_engine() {
  local apt=$folder/apt deb
  mkdir -p "$cache/debs" "$folder/bin" "$DOCKER_CONFIG/cli-plugins" "$apt"/{sources,lists/partial,cache/archives/partial}
  if ! compgen -G "$cache/debs/*.deb" >/dev/null; then
    sed "s/$CODENAME/trixie/g" "$SOURCES" >"$apt/sources/engine.${SOURCES##*.}"
    : >"$apt/status"
    cat >"$apt/conf" <<E
Dir::Etc::SourceList "/dev/null"; Dir::Etc::SourceParts "$apt/sources"; Dir::State::Lists "$apt/lists";
Dir::Cache "$apt/cache"; Dir::State::status "$apt/status"; APT::Sandbox::User "root";
E
    (cd "$cache/debs" && APT_CONFIG=$apt/conf && export APT_CONFIG && apt-get update -qq &&
      apt-get download -qq docker.io containerd docker-compose docker-buildx docker-cli)
  fi
  for deb in "$cache"/debs/*.deb; do dpkg-deb -x "$deb" "$folder/engine"; done
  ln -sf "$folder"/engine/usr/sbin/{dockerd,docker-proxy} \
    "$folder"/engine/usr/bin/{docker,containerd,containerd-shim-runc-v2,ctr} "$folder/bin/"
  ln -sf "$folder"/engine/usr/libexec/docker/cli-plugins/docker-{compose,buildx} "$DOCKER_CONFIG/cli-plugins/"
  rm -rf "$apt"
}

# base NAME SUITE PACKAGES: a minimal Debian, imported as local/NAME.
base() {
  [[ -f $cache/$1.tar ]] || mmdebstrap --quiet --format=tar --variant=minbase --include="$3" \
    --customize-hook='rm -rf "$1"/etc/apt/sources.list*' "$2" "$cache/$1.tar.part" "$MIRROR"
  [[ -f $cache/$1.tar ]] || mv "$cache/$1.tar.part" "$cache/$1.tar"
  docker import "$cache/$1.tar" "local/$1"
}

build_base_images() {
  local redis=$1 root=$here/../.. suite image context=$folder/images
  rm -rf "$context"
  mkdir -p "$context"/{python,redis}
  # The machine's certificates and its patience: it may reach the package index through a proxy.
  cp -L /etc/ssl/certs/ca-certificates.crt "$context/python/ca.crt"
  printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\ntimeout = 180\n' >"$context/python/pip.conf"
  for image in $(grep -ohE '\bpython:3\.[0-9]+[a-zA-Z0-9.-]*' "$root"/ops/Dockerfile* | sort -u); do
    case $image in python:3.11*) suite=bookworm version=3.11 ;; python:3.13*) suite=trixie version=3.13 ;;
    *) fail "no Debian release has the Python of $image: only 3.11 and 3.13" ;; esac
    base "python-$suite" $suite "ca-certificates,python$version,python$version-venv,python3-pip"
    docker build -q -t "$image" -f "$here/python.Dockerfile" \
      --build-arg "FROM=local/python-$suite" --build-arg "PYTHON=python$version" "$context/python"
  done
  case $redis in 8.0) suite=trixie ;; 7.0 | /*) suite=bookworm ;; *) fail "REDIS is $redis: 7.0, 8.0 or a folder" ;; esac
  base "redis-$suite" $suite redis-server,redis-tools,busybox-static
  cp "$here/redis-entrypoint.sh" "$context/redis/"
  if [[ $redis == /* ]]; then
    mkdir "$context/redis/bin"
    cp "$redis"/redis-{server,cli} "$context/redis/bin/"
  fi
  for image in $(grep image: "$root/docker-compose.yml" | grep -ohE '\bredis:[0-9][a-zA-Z0-9.-]*' | sort -u); do
    docker build -q -t "$image" -f "$here/redis.Dockerfile" --build-arg "FROM=local/redis-$suite" "$context/redis"
  done
}

# --- what runs

start_network() {
  local name holder=
  name=boomerang-check-$(printf %s "$folder" | cksum | cut -d' ' -f1)
  ip netns add "$name"
  echo "$name" >"$run/namespace"
  inside ip link set lo up
  setsid nohup slirp4netns --configure --mtu=65520 --disable-host-loopback --netns-type=path "/run/netns/$name" tap0 \
    >>"$log" 2>&1 </dev/null &
  holder=$!
  echo $holder >"$run/slirp4netns.pid"
  for _ in $(seq 50); do inside ip route | grep -q ^default && return; sleep .2; done
  fail "slirp4netns did not connect the engine's network"
}

start_daemon() {
  inside setsid nohup "$folder/bin/dockerd" --data-root "$folder/data" --exec-root "$run/exec" --pidfile "$run/dockerd.pid" \
    -H "$DOCKER_HOST" --init-path /usr/bin/tini-static --dns "$RESOLVER" --default-address-pool "base=$POOL,size=24" \
    >>"$log" 2>&1 </dev/null &
  for _ in $(seq 120); do docker info >/dev/null 2>&1 && return; sleep .5; done
  fail "the engine does not start: see $log"
}

# Containers outlive a daemon that had to be killed.
end_containers() {
  local container
  for container in "$folder"/data/containers/*/; do
    grep -lsF "$(basename "$container")" /proc/[0-9]*/cgroup | cut -d/ -f3
  done | sort -u | xargs -r kill -9 || true
}

stop_all() {
  end dockerd 120
  end_containers
  end slirp4netns 10
  if [[ -f $run/namespace ]]; then
    ip netns del "$(<"$run/namespace")" || true
    rm -f "$run/namespace"
  fi
  # What a daemon that was killed leaves mounted.
  awk -v under="$folder/" 'index($5, under) == 1 {print $5}' /proc/self/mountinfo | sort -r | xargs -r -n1 umount -l || true
  rm -rf "$folder"/{data,run,engine,bin,config,images,apt,engine.log}
}

case $action in
start)
  [[ $(id -u) == 0 ]] || fail "it needs root"
  CODENAME=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  [[ $CODENAME == bookworm || $CODENAME == trixie ]] || fail "it needs Debian 12 or 13, and this is ${CODENAME:-no Debian}"
  SOURCES=$(grep -slE "\b$CODENAME\b" /etc/apt/sources.list.d/*.sources /etc/apt/sources.list | head -1 || true)
  [[ -n $SOURCES ]] || fail "no source of packages of $CODENAME in /etc/apt"
  MIRROR=$(grep -oE 'https?://[^ ]+' <(grep -vE '^#' "$SOURCES") | head -1)
  [[ ! -e $run/namespace ]] || fail "an engine in $folder runs already, or was not stopped: debian-engine.sh stop $folder"
  mkdir -p "$cache" "$run"
  # Whatever goes wrong from here on: the last lines of the log say what, and nothing is left behind.
  trap 'tail -5 "$log" >&2; stop_all' EXIT
  # A command that fails ends the script here: no `||` behind these, it would turn `set -e` off inside them.
  install_packages >>"$log" 2>&1
  unpack_engine >>"$log" 2>&1
  start_network
  start_daemon
  build_base_images "${3:-7.0}" >>"$log" 2>&1
  trap - EXIT
  ;;
exec) shift 2 && inside "$@" ;;
restart) end dockerd 120 && start_daemon ;;
stop) stop_all ;;
*) fail "$action: start, exec, restart or stop" ;;
esac
