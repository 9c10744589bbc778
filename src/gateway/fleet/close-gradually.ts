// Sessions that are to go on at other gateways: told when, and closed a few at a time, so that the others can take them in.
import type { CloseCode } from '../../protocol/codes.js'
import type { Session } from '../../session/session.js'

const stepMs = 100

export interface CloseGraduallyOptions {
  /** Of the reconnecting kind. */
  readonly code: CloseCode
  readonly windowMs: number
  /** The only time that is known here. */
  readonly sleep: (ms: number) => Promise<unknown>
  /** Asked at each step: nothing is left to be done, or somebody else does it. */
  readonly isStopped: () => boolean
}

/** Closes the sessions in their order, evenly over `windowMs`; each was told before when its turn comes. Resolves to how many had theirs. */
export async function closeGradually(order: readonly Session[], options: CloseGraduallyOptions): Promise<number> {
  const { code, isStopped: over, sleep, windowMs } = options
  const turnMs = (index: number): number => Math.floor((index / order.length) * windowMs)
  order.forEach((session, index) => session.adviseReconnect(turnMs(index)))
  let next = 0
  for (let elapsedMs = 0; next < order.length && !over(); elapsedMs += stepMs) {
    for (; next < order.length && turnMs(next) <= elapsedMs; next += 1) order[next]?.close(code)
    if (next < order.length && !over()) await sleep(stepMs)
  }
  return next
}
