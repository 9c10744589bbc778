# Finds the Redis master. redis.sh and sentinel.sh source this file. NODES are the full host names of all
# pods, ME is this pod's; REDISCLI_AUTH is the password of all servers and Sentinels. Only tests change the
# folders and the ports.
SCRIPTS=$(dirname "$0")
: "${DATA:=/data}" "${RUN:=/run/redis}" "${REDIS_PORT:=6379}" "${SENTINEL_PORT:=26379}"

other_nodes() {
  for node in $NODES; do [ "$node" = "$ME" ] || echo "$node"; done
}

# query HOST PORT COMMAND…: runs one command with a timeout, because redis-cli waits for a connection without
# limit.
query() {
  host=$1 port=$2
  shift 2
  timeout 2 redis-cli --raw -h "$host" -p "$port" "$@" 2>/dev/null
}

# Prints the master that most Sentinels of the other pods name, and their number: "<host> <votes>". Prints
# nothing when none answers.
poll_sentinels() {
  for node in $(other_nodes); do query "$node" "$SENTINEL_PORT" sentinel get-master-addr-by-name parley | head -n 1; done |
    grep -F "$DOMAIN" | sort | uniq -c | sort -rn | awk 'NR == 1 { print $2, $1 }'
}

# Prints the last master that this pod's Sentinel knew. The Sentinel's file is on the same volume as the data,
# and is lost together with it.
remembered_master() {
  if [ -f "$DATA/sentinel.conf" ]; then
    awk '$1 == "sentinel" && $2 == "monitor" { print $4; exit }' "$DATA/sentinel.conf"
  fi
}

# Sets MASTER to the host of the master, and SOURCE to where the answer comes from. Two Sentinels outvote the
# remembered master; one Sentinel counts only when no master is remembered. When no Sentinel answers and no
# master is remembered, as at the first start, the first pod is the master. The other pods may still be
# starting, so this asks them three times.
find_master() {
  for try in 1 2 3; do
    answer=$(poll_sentinels)
    case $answer in
      *' 2') MASTER=${answer% *} SOURCE=sentinels; return ;;
    esac
    MASTER=$(remembered_master) SOURCE=memory
    if [ -n "$MASTER" ]; then return; fi
    if [ -n "$answer" ]; then MASTER=${answer% *} SOURCE=sentinel; return; fi
    sleep 1
  done
  MASTER=${NODES%% *} SOURCE=first
}
