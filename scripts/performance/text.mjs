// The text of docs/performance.md before and after the figures.

export const introduction = `<!-- Written by \`npm run bench\` from bench/results. Do not edit: a test compares. -->

# Performance

\`\`\`sh
npm run bench                                  # all scenarios
npm run bench -- --only fan-out --rounds 5     # one scenario
\`\`\`

![Deliveries per CPU-second: Parley, a bare ws loop, Socket.IO](images/deliveries.svg)

How the figures are measured:

- The server, its Redis and the clients are separate processes on one machine and communicate over loopback.
  The clients are raw sockets that count frames without decoding them. They cost less than what they measure,
  as the column "load CPU" shows.
- Every delivery is counted. The expected number is known exactly: publications times subscribers. A delivery
  that has not arrived a minute after the end of the round counts as missing.
- Each publication carries the time at which it was sent, by the clock of the process that also receives it.
- CPU time is the kernel's count of nanoseconds for all threads of the server. The CPU time of Redis is shown
  separately.
- The subjects take turns (A B A B), and each ratio is computed within one round. On a machine that other
  programs use too, **the ratios hold and the absolute figures do not**. The tables show medians. The first
  three rounds are not counted, because V8 compiles code during them.
- The bare loop is [ws](../bench/speed/baseline-ws.mjs) and a \`for\` loop that sends one buffer to each
  socket. It has no tenants, tokens, rules, quotas, history, recovery or bounds. Socket.IO runs with its
  [Redis adapter](../bench/speed/baseline-socket-io.mjs), without history and acknowledgements.

How Parley saves CPU time: a gateway writes to a socket as soon as a turn of its event loop has read the
available input. Above 50,000 frames per second, frames for one socket wait for each other so that they share
a write. They wait for up to 50 ms, and this bound rises gradually to 100 ms at 300,000 frames per second.
Commands for Redis that arrive within 3 ms of each other share a pipeline. A single command never waits.

To size your own cluster, see \`parley bench\` in [Operations](operations.md#load-tests).
`

export const closing = `## Missed targets, and why

Profiles (\`node --cpu-prof\`, and \`perf record -e cpu-clock\` for the kernel) show where the time is spent:

- **30,000 deliveries/s.** Most of the time is the kernel's write to each socket, which the bare loop needs
  too. With Redis, each publication that arrives alone adds a command and the way of the message back to the
  gateway: system calls and wake-ups of sleeping processes. Without replicas to wait for, one script stores
  and publishes. With replicas, the acknowledgement must come between the two. At higher rates, publications
  share pipelines and the difference disappears. Letting single publications wait 5 or 8 ms for others saved
  nothing here. Writing to the sockets without Node's streams would save little, and would need Node's
  internals. Socket.IO itself is so close to the bare loop here that the two targets require nearly the same.
- **Publishes compared with the ioredis loop.** Tried and kept: one script for consecutive publishes of a
  channel (a command costs ioredis ten times as much as another entry in it), one \`PUBLISH\` for all its
  publications, key names and client information that are built once, fewer promises, pipelines that collect
  for 3 ms, hand-written parsers instead of zod for publishes and stored messages, replies that are written in
  one pass, and counters that are plain numbers. Tried and dropped: cutting payloads out of bytes instead of
  text (V8 is slower with them), a larger young generation, garbage collection in one thread, and pipelines
  that collect for longer. The remaining time is spread over WebSocket frames, JSON, permissions and quotas,
  the kernel, and garbage collection.
- **Connects.** HTTP and \`ws\` cost the same for both. Parley adds the token, an admission that Redis counts
  exactly across gateways (one script for all connects that arrive together), the session, two replies, and,
  for a client that missed something, a read that replicas confirm. Garbage collection is an eighth of the
  time. The first thousands of connects cost twice as much as the later ones, until V8 has compiled the code.
  In a storm, at most 4 handshakes are processed in a turn of the event loop, so that deliveries to connected
  clients continue.
- **Growth.** With 16,000 connections, the kernel's part of a write costs more, for the bare loop as well (the
  table shows both), because the state of so many sockets does not fit into the CPU caches. In addition, all
  connections are pinged.
`

const width = 110

/**
 * Wraps the paragraphs of a Markdown text. Tables and headings stay as they are.
 * @param {string} text
 */
export function wrapParagraphs(text) {
  return text
    .split('\n')
    .map((line) => (line.length <= width || /^[|#]/.test(line) ? line : wrap(line)))
    .join('\n')
}

/** @param {string} line */
function wrap(line) {
  /** @type {string[]} */
  const lines = ['']
  for (const word of line.split(' ')) {
    const last = lines.at(-1) ?? ''
    if (last === '') lines[lines.length - 1] = word
    else if (last.length + 1 + word.length > width) lines.push(word)
    else lines[lines.length - 1] = `${last} ${word}`
  }
  return lines.join('\n')
}
