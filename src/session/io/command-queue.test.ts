import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../auth/auth.testing.js'
import type { CommandError } from '../../errors.js'
import type { CloseCode } from '../../protocol/codes.js'
import type { DecodedItem } from '../../protocol/commands.js'
import { PublishBudget } from '../sharing/publish-budget.js'
import { CommandQueue, type CommandQueueOwner } from './command-queue.js'

const command: DecodedItem = { kind: 'command', ref: 1, command: { kind: 'presenceStats', channel: 'a' } }

/** A queue with ten commands per second. `dispatched` are the delays of the commands that started. */
function queueOf({ delayMs = () => 0 }: { delayMs?: () => number } = {}) {
  const clock = new ManualClock()
  const refused: string[] = []
  const closes: number[] = []
  const dispatched: number[] = []
  let finish: (() => void) | undefined
  const owner = {
    closed: false,
    mayBegin: () => true,
    replyError: (_ref: unknown, error: CommandError) => void refused.push(error.code),
    close(code: CloseCode) {
      closes.push(code.code)
      owner.closed = true
    },
  }
  const flow = {
    isCongested: false,
    onHeld() {},
    // Runs until nothing more may begin, as the input does.
    proceed() {
      for (let before = -1; before !== queue.length; queue.run()) before = queue.length
    },
  }
  const queue = new CommandQueue(owner as unknown as CommandQueueOwner, {
    dispatch: () => {
      dispatched.push(queue.delayedMs)
      return new Promise((resolve) => (finish = resolve))
    },
    flow,
    bounds: {
      queuedCommandsMax: 100,
      publishesInFlightMax: 1,
      publishBytesInFlightMax: 1_000,
      errorsInRowMax: 1_000,
    },
    budget: new PublishBudget(),
    clock,
    arrivalDelay: { at: delayMs },
    commandsPerSecond: 10,
  })
  /** Ends the command in progress and lets the next one start. */
  const end = async (): Promise<void> => {
    finish?.()
    await Promise.resolve()
    await Promise.resolve()
  }
  const send = (count: number): void => {
    queue.add(
      Array.from({ length: count }, () => command),
      { bytes: 100, waitedMs: 0 },
    )
    flow.proceed()
  }
  return { clock, closes, dispatched, end, queue, refused, send }
}

describe('the rate of a connection', () => {
  test('counts commands when they arrive, not when they start', async () => {
    const { clock, dispatched, end, refused, send } = queueOf()
    // The first command takes three seconds, for example because Redis is paused.
    for (let second = 0; second < 3; second += 1) {
      send(10)
      clock.advance(1_000)
    }
    for (let n = 0; n < 30; n += 1) await end()
    expect(refused).toEqual([])
    expect(dispatched).toHaveLength(30)
  })

  test('does not count a delay of the event loop as a burst', async () => {
    let delayMs = 0
    const { clock, end, refused, send } = queueOf({ delayMs: () => delayMs })
    send(1)
    clock.advance(3_000)
    delayMs = 3_000
    // What was sent at ten per second during the three seconds arrives at once.
    send(30)
    for (let n = 0; n < 31; n += 1) await end()
    expect(refused).toEqual([])
    send(30)
    for (let n = 0; n < 30; n += 1) await end()
    expect(refused.length).toBeGreaterThan(15)
  })

  test('tells the handlers how long a command was delayed', async () => {
    const { clock, dispatched, end, send } = queueOf({ delayMs: () => 40 })
    send(2)
    clock.advance(500)
    await end()
    expect(dispatched).toEqual([40, 540])
  })
})

describe('pings and pongs', () => {
  test('above the rate close the session, also when they are paced', () => {
    const { clock, closes, queue } = queueOf()
    // 63 at once, and then a pause in which a token of the rate returns.
    for (let round = 0; round < 60 && closes.length === 0; round += 1) {
      for (let n = 0; n < 63; n += 1) queue.addControl()
      clock.advance(100)
    }
    expect(closes).toEqual([3013])
  })

  test('within the rate never do', () => {
    const { clock, closes, queue } = queueOf()
    for (let n = 0; n < 10_000; n += 1) {
      queue.addControl()
      clock.advance(100)
    }
    expect(closes).toEqual([])
  })
})
