#!/bin/sh
# Starts the Sentinel with what it knew before, and with today's settings and password.
set -eu
. /scripts/ask.sh

known() {
  if [ -f /data/sentinel.conf ]; then grep -E "^sentinel ($1) " /data/sentinel.conf || true; fi
}

find_master
{
  cat /scripts/sentinel.conf
  echo "requirepass $REDISCLI_AUTH"
  echo "sentinel sentinel-pass $REDISCLI_AUTH"
  echo "sentinel announce-ip $ME"
  if [ "$SOURCE" = memory ]; then
    known 'myid|monitor|config-epoch|leader-epoch|current-epoch|known-replica|known-sentinel'
  else
    known 'myid|current-epoch'
    echo "sentinel monitor parley $MASTER 6379 2"
  fi
  echo "sentinel auth-pass parley $REDISCLI_AUTH"
  sed 's/^/sentinel /' /scripts/master.conf
} >/data/sentinel.conf.new
mv /data/sentinel.conf.new /data/sentinel.conf
exec redis-server /data/sentinel.conf --sentinel
