#!/bin/sh
# Starts Redis as the master or a replica, as the Sentinels say.
set -eu
. "$(dirname "$0")/find-master.sh"

has_data() {
  [ -s "$DATA/dump.rdb" ] || [ -n "$(find "$DATA/appendonlydir" -type f -size +0 2>/dev/null | head -n 1)" ]
}

# Succeeds when both other servers answer and have no key.
others_are_empty() {
  for node in $(other_nodes); do
    [ "$(query "$node" "$REDIS_PORT" dbsize)" = 0 ] || return 1
  done
}

find_master
# Replicas copy their master. A master that comes back empty before the Sentinels consider it down would
# therefore erase its replicas. So an empty master waits until the Sentinels have elected another one, or
# until both other servers are known to be empty, but at most a minute.
waitedS=0
while [ "$MASTER" = "$ME" ] && ! has_data && ! others_are_empty && [ "$waitedS" -lt 60 ]; do
  [ "$waitedS" -gt 0 ] || echo "this server is empty and was named master ($SOURCE): waiting for the other servers"
  sleep 1
  waitedS=$((waitedS + 1))
  answer=$(poll_sentinels)
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
