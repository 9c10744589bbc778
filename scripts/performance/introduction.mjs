// What docs/performance.md says before the figures.

export const introduction = `<!-- Written by \`npm run bench\` from bench/results. Do not edit: a test compares. -->

# Performance

\`\`\`sh
npm run bench                                  # everything
npm run bench -- --only fan-out --rounds 5     # one scenario
\`\`\`

![Deliveries per CPU-second: Parley, a bare ws loop, Socket.IO](images/deliveries.svg)

How it is measured:

- The server, its Redis and the clients are processes of their own, on one machine over loopback. The clients are raw sockets that count frames
  where they lie: they cost less than what they measure, and the column "load CPU" shows that they do.
- Every delivery is counted. What was offered is known exactly: publications times subscribers. What has not come a minute after the end is missing.
- Each publication carries the time at which it was sent, by the clock of the process that also receives it.
- CPU time is the kernel's count of nanoseconds, of all threads of the server alone; Redis's is beside it.
- Subjects take turns, A B A B, and each ratio is made within a round: on a machine that others use too **ratios hold, absolutes do not**. Medians are
  shown.
- The bare loop is [ws](../bench/speed/floor-ws.mjs) and a \`for\`: one buffer to each socket, with no tenants, tokens, rules, quotas, history,
  recovery or bounds. Socket.IO has its [Redis adapter](../bench/speed/floor-socket-io.mjs), no history and no acknowledgements.

What Parley does about it: a gateway writes as soon as a turn of its event loop has read what there was. Only above 50,000 frames a second does it let
frames for one socket wait for each other, at most 50 ms, so that they share a write. Commands for Redis that come within 3 ms of each other share a
pipeline; who comes alone never waits.

To size your own cluster, see \`parley bench\` in [Operations](operations.md#how-much-does-a-cluster-carry).
`
