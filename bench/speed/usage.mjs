// Reads the CPU time and memory of processes from /proc. The scheduler statistics count nanoseconds, while
// the usual counters count hundredths of a second.
import { readdirSync, readFileSync } from 'node:fs'

/**
 * Returns the CPU time of all threads of these processes since their start, in seconds.
 * @param {readonly number[]} pids
 */
export function cpuSecondsOf(pids) {
  let ns = 0
  for (const pid of pids)
    for (const thread of readdirSync(`/proc/${pid}/task`))
      ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0])
  return ns / 1e9
}

/** Returns the resident memory of these processes together, in bytes. @param {readonly number[]} pids */
export function rssBytesOf(pids) {
  const rssKiB = pids.map((pid) =>
    Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0),
  )
  return rssKiB.reduce((sum, kiB) => sum + kiB, 0) * 1024
}

/**
 * Returns the busy and idle time of all processors since the start of the machine, in hundredths of a second.
 */
export function processorTicks() {
  const [, ...ticks] = (readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? '').split(/\s+/)
  const [user = 0, nice = 0, system = 0, idle = 0, wait = 0] = ticks.map(Number)
  return { busy: user + nice + system, idle: idle + wait }
}

/**
 * Returns the busy share of the processors since `before`, 0 to 1.
 * @param {ReturnType<typeof processorTicks>} before
 */
export function busyShareSince(before) {
  const now = processorTicks()
  const busy = now.busy - before.busy
  return busy / Math.max(1, busy + now.idle - before.idle)
}
