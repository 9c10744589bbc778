# Sourced by both containers: who is master. NODES are the pods' full names, ME is this pod's; REDISCLI_AUTH lets redis-cli in everywhere.
# Where files are, and the ports, are others only in tests.
SCRIPTS=$(dirname "$0")
: "${DATA:=/data}" "${RUN:=/run/redis}" "${REDIS_PORT:=6379}" "${SENTINEL_PORT:=26379}"

others() {
  for node in $NODES; do [ "$node" = "$ME" ] || echo "$node"; done
}

# ask HOST PORT COMMAND…: redis-cli itself would wait for a connection for ever.
ask() {
  host=$1 port=$2
  shift 2
  timeout 2 redis-cli --raw -h "$host" -p "$port" "$@" 2>/dev/null
}

# The master that most of the others' Sentinels name, and how many do: "<host> <votes>"; nothing when none answers.
ask_sentinels() {
  for node in $(others); do ask "$node" "$SENTINEL_PORT" sentinel get-master-addr-by-name parley | head -n 1; done |
    grep -F "$DOMAIN" | sort | uniq -c | sort -rn | awk 'NR == 1 { print $2, $1 }'
}

# The master that this pod's Sentinel knew last: its file lies beside the data, and goes with them.
remembered() {
  if [ -f "$DATA/sentinel.conf" ]; then
    awk '$1 == "sentinel" && $2 == "monitor" { print $4; exit }' "$DATA/sentinel.conf"
  fi
}

# Sets MASTER, and SOURCE to who says so. Two Sentinels outvote what is remembered; one alone counts more than nothing. When nobody answers
# and nothing is remembered, as at the very first start, it is the first pod. The others may be starting too, so all are asked three times.
find_master() {
  for try in 1 2 3; do
    answer=$(ask_sentinels)
    case $answer in
      *' 2') MASTER=${answer% *} SOURCE=sentinels; return ;;
    esac
    MASTER=$(remembered) SOURCE=memory
    if [ -n "$MASTER" ]; then return; fi
    if [ -n "$answer" ]; then MASTER=${answer% *} SOURCE=sentinel; return; fi
    sleep 1
  done
  MASTER=${NODES%% *} SOURCE=first
}
