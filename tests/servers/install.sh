#!/usr/bin/env bash
# Install the servers that the tests run against, where this is Debian and we are root. Elsewhere the tests fall back:
# moto in place of the Ceph gateway, YAML checks in place of promtool and docker-compose.
set -u
missing=()
command -v radosgw >/dev/null && command -v ceph-mon >/dev/null && command -v ceph-osd >/dev/null || missing+=(radosgw ceph-mon ceph-osd)
command -v promtool >/dev/null || missing+=(prometheus)
command -v docker-compose >/dev/null || missing+=(docker-compose)
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "not installed (needs root and apt-get): ${missing[*]}; the tests use their fallbacks"
  exit 0
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { apt-get -qq update && apt-get -qq install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  echo "apt-get failed (see $log); the tests use their fallbacks"
fi
exit 0
