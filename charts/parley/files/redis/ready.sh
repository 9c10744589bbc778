#!/bin/sh
# A replica is ready when it is connected to its master. A rollout must not continue before that.
role=$(timeout 2 redis-cli --raw info replication) || exit 1
case $role in
  *role:master*) exit 0 ;;
  *master_link_status:up*) exit 0 ;;
esac
exit 1
