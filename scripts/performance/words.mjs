// What docs/performance.md says before the figures, and after them.

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
  shown; each subject's first three turns are not counted, since V8 compiles meanwhile.
- The bare loop is [ws](../bench/speed/floor-ws.mjs) and a \`for\`: one buffer to each socket, with no tenants, tokens, rules, quotas, history,
  recovery or bounds. Socket.IO has its [Redis adapter](../bench/speed/floor-socket-io.mjs), no history and no acknowledgements.

What Parley does about it: a gateway writes as soon as a turn of its event loop has read what there was. Only above 50,000 frames a second does it let
frames for one socket wait for each other, for up to 50 ms, gradually more from there to 100 ms at 300,000, so that they share a write. Commands for
Redis that come within 3 ms of each other share a pipeline; who comes alone never waits.

To size your own cluster, see \`parley bench\` in [Operations](operations.md#load-tests).
`

export const closing = `## What is missed, and why

Profiles (\`node --cpu-prof\`, and \`perf record -e cpu-clock\` for the kernel's part) say where the time goes:

- **30,000 deliveries/s.** Most is the kernel's write to each socket, which the bare loop pays too. Through
  Redis each publication that comes alone adds a command of its own, and the message's way back: writes and wake-ups of processes that slept. Where no
  replicas are waited for one script stores and announces; where they are, the acknowledgement must come between the two. At higher rates they share
  pipelines, and the difference goes; to make those that come alone wait 5 or 8 ms for company spared nothing here. Writing to the sockets past
  Node's streams would spare little, and needs its internals.
  Socket.IO itself is so near the bare loop here that the two bars ask for nearly the same.
- **Publishes against the ioredis loop.** Tried and kept: one script for what follows each other in a channel (a command costs ioredis ten times what
  another entry in it does), one \`PUBLISH\` for all that it brought, names of keys and a client's description made once, fewer promises, pipelines that
  gather for 3 ms; publishes and stored messages read by hand rather than by zod, replies written in one pass, counters that are plain numbers.
  Tried and dropped: payloads cut out of bytes instead of text (V8 is slower with them), a larger young generation, garbage
  collection in one thread, pipelines that gather for longer. What is left is spread thin: WebSocket frames, JSON, rights and quotas, the kernel, and
  garbage collection.
- **Connects.** Beside what HTTP and \`ws\` do for both: the token, an admission that Redis counts exactly, across gateways (one script for all that come
  together), the session, two answers, and for a client who missed something a read, proven on replicas. Collecting garbage is an eighth of it, and the first
  thousands cost twice as much as the later ones, until V8 has compiled what they run. In a storm handshakes come in 32 to a turn of the event loop, so
  that deliveries to those who are there go on.
- **Growth.** With 16,000 connections the kernel's part of a write costs more, for the bare loop as well (the table has both): their sockets lie in no cache.
  And all of them are pinged.
`
