#!/bin/sh
# Starts Redis as what the Sentinels say it is.
set -eu
. "$(dirname "$0")/ask.sh"

has_data() {
  [ -s "$DATA/dump.rdb" ] || [ -n "$(find "$DATA/appendonlydir" -type f -size +0 2>/dev/null | head -n 1)" ]
}

# Both answer, and neither has a key.
others_are_empty() {
  for node in $(others); do
    [ "$(ask "$node" "$REDIS_PORT" dbsize)" = 0 ] || return 1
  done
}

find_master
# An empty master would be copied over its replicas, and it is back before the Sentinels have missed it. So it waits until they have chosen
# another, or until it is sure that nobody has anything to lose. After a minute there is nobody who has more than this one.
waitedS=0
while [ "$MASTER" = "$ME" ] && ! has_data && ! others_are_empty && [ "$waitedS" -lt 60 ]; do
  [ "$waitedS" -gt 0 ] || echo "named master by $SOURCE, and empty: waiting for the others"
  sleep 1
  waitedS=$((waitedS + 1))
  answer=$(ask_sentinels)
  if [ -n "$answer" ]; then MASTER=${answer% *}; fi
done
echo "the master is $MASTER ($SOURCE)"

cp "$SCRIPTS/redis.conf" "$RUN/redis.conf"
{
  echo "requirepass $REDISCLI_AUTH"
  echo "masterauth $REDISCLI_AUTH"
  echo "replica-announce-ip $ME"
  if [ "$MASTER" != "$ME" ]; then echo "replicaof $MASTER $REDIS_PORT"; fi
} >>"$RUN/redis.conf"
exec redis-server "$RUN/redis.conf"
