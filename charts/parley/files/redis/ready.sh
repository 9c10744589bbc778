#!/bin/sh
# A replica is ready when it follows its master: a rollout must not go on before.
role=$(timeout 2 redis-cli --raw info replication) || exit 1
case $role in
  *role:master*) exit 0 ;;
  *master_link_status:up*) exit 0 ;;
esac
exit 1
