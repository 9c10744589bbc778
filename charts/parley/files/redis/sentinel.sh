#!/bin/sh
# Starts the Sentinel with its previous state, and with the current settings and password.
set -eu
. "$(dirname "$0")/find-master.sh"

# known PATTERN: prints the lines of the previous configuration that match.
known() {
  if [ -f "$DATA/sentinel.conf" ]; then grep -E "^sentinel ($1) " "$DATA/sentinel.conf" || true; fi
}

find_master
{
  cat "$SCRIPTS/sentinel.conf"
  echo "requirepass $REDISCLI_AUTH"
  echo "sentinel sentinel-pass $REDISCLI_AUTH"
  echo "sentinel announce-ip $ME"
  if [ "$SOURCE" = memory ]; then
    known 'myid|monitor|config-epoch|leader-epoch|current-epoch|known-replica|known-sentinel'
  else
    known 'myid|current-epoch'
    echo "sentinel monitor parley $MASTER $REDIS_PORT 2"
  fi
  echo "sentinel auth-pass parley $REDISCLI_AUTH"
  sed 's/^/sentinel /' "$SCRIPTS/master.conf"
} >"$DATA/sentinel.conf.new"
mv "$DATA/sentinel.conf.new" "$DATA/sentinel.conf"
exec redis-server "$DATA/sentinel.conf" --sentinel
