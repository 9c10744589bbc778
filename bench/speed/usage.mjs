// What processes have used and hold, from /proc: in nanoseconds, where the usual counters tick a hundred times a second.
import { readdirSync, readFileSync } from 'node:fs'

/** All threads of all these processes, since their start, in seconds. @param {readonly number[]} pids */
export function cpuSecondsOf(pids) {
  let ns = 0
  for (const pid of pids)
    for (const thread of readdirSync(`/proc/${pid}/task`))
      ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0])
  return ns / 1e9
}

/** @param {readonly number[]} pids */
export function rssBytesOf(pids) {
  const rssKiB = pids.map((pid) =>
    Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0),
  )
  return rssKiB.reduce((sum, kiB) => sum + kiB, 0) * 1024
}

/** Of all processors since the machine's start, in hundredths of a second. */
export function processorTicks() {
  const [, ...ticks] = (readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? '').split(/\s+/)
  const [user = 0, nice = 0, system = 0, idle = 0, wait = 0] = ticks.map(Number)
  return { busy: user + nice + system, idle: idle + wait }
}

/** How much of them was used, 0 to 1. @param {ReturnType<typeof processorTicks>} before */
export function busyShareSince(before) {
  const now = processorTicks()
  const busy = now.busy - before.busy
  return busy / Math.max(1, busy + now.idle - before.idle)
}
