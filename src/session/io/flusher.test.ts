import { beforeEach, describe, expect, test } from 'vitest'
import { ManualClock } from '../../auth/auth.testing.js'
import { FairScheduler } from '../sharing/fair-scheduler.js'
import { WorkQueue } from '../sharing/work-queue.js'
import { Flusher, type Flushable, type TenantWrites } from './flusher.js'
import { turn } from '../session.testing.js'

const intervalMs = 50

/** Records how many frames each flush wrote. */
class FakeOutbox implements Flushable {
  lastFlushInterval = -1
  waiting = 0
  readonly written: number[] = []
  readonly writes: TenantWrites
  readonly #flusher: Flusher

  constructor(to: Flusher, queue = tenant) {
    this.#flusher = to
    this.writes = to.writesOf(queue)
  }

  push(frames = 1): void {
    if (this.waiting === 0) this.#flusher.add(this)
    this.waiting += frames
  }

  get waitingFrames(): number {
    return this.waiting
  }

  flush(): number {
    const frames = this.waiting
    if (frames > 0) this.written.push(frames)
    this.waiting = 0
    return frames
  }
}

let clock: ManualClock
let flusher: Flusher
let tenant: WorkQueue
let timers: { delayMs: number; fire: () => void }[]

beforeEach(() => {
  clock = new ManualClock()
  timers = []
  tenant = new WorkQueue()
  flusher = new Flusher({
    clock,
    scheduler: new FairScheduler({ clock, onError: rethrow }),
    after: (delayMs, fire) => {
      const timer = { delayMs, fire }
      timers.push(timer)
      return () => {
        timers = timers.filter((one) => one !== timer)
      }
    },
  })
})

function rethrow(error: unknown): never {
  throw error
}

/** Completes an interval in which this many frames were written. */
async function afterInterval(frames: number): Promise<void> {
  new FakeOutbox(flusher).push(frames)
  await turn()
  clock.advance(intervalMs)
  new FakeOutbox(flusher).push()
  await turn()
}

async function nextInterval(): Promise<void> {
  clock.advance(intervalMs)
  const [timer] = timers.splice(0)
  timer?.fire()
  await turn()
}

describe('under low load', () => {
  test('every turn writes its frames', async () => {
    await afterInterval(1_000)
    const outbox = new FakeOutbox(flusher)
    for (let turns = 0; turns < 3; turns += 1) {
      outbox.push()
      await turn()
    }
    expect(outbox.written).toEqual([1, 1, 1])
    expect(timers).toEqual([])
  })
})

describe('under high load', () => {
  beforeEach(() => afterInterval(2_500))

  test('an outbox written in this interval waits for the next, and is written once', async () => {
    const outbox = new FakeOutbox(flusher)
    outbox.push()
    await turn()
    clock.advance(10)
    for (let turns = 0; turns < 3; turns += 1) {
      outbox.push()
      await turn()
    }
    expect(outbox.written).toEqual([1])
    expect(timers).toMatchObject([{ delayMs: intervalMs - 10 }])
    await nextInterval()
    expect(outbox.written).toEqual([1, 3])
  })

  test('an outbox that was not written in this interval is written at once', async () => {
    const [busy, idle] = [new FakeOutbox(flusher), new FakeOutbox(flusher)]
    busy.push()
    await turn()
    busy.push()
    idle.push()
    await turn()
    expect([busy.written, idle.written]).toEqual([[1], [1]])
  })

  test('no outbox waits from the first interval under low load on', async () => {
    const outbox = new FakeOutbox(flusher)
    outbox.push()
    await turn()
    outbox.push()
    await nextInterval()
    for (let turns = 0; turns < 2; turns += 1) {
      outbox.push()
      await turn()
    }
    expect(outbox.written).toEqual([1, 1, 1, 1])
  })

  test('outboxes wait as long as the load is high, although frames are written later and in fewer writes', async () => {
    const outbox = new FakeOutbox(flusher)
    for (let intervals = 0; intervals < 4; intervals += 1) {
      outbox.push()
      await turn()
      // The frames of one interval, most of which are not written when it ends.
      outbox.push(2_500)
      await nextInterval()
    }
    expect(outbox.written).toEqual([1, 2_500, 2_501, 2_501, 2_501])
  })

  test('an interval that began late is not followed by another at once', async () => {
    const outbox = new FakeOutbox(flusher)
    outbox.push()
    await turn()
    outbox.push()
    clock.advance(intervalMs)
    // A frame of another outbox begins the interval before its timer fires.
    new FakeOutbox(flusher).push()
    await turn()
    expect(outbox.written).toEqual([1, 1])
    expect(timers).toEqual([])
  })
})

test('the load of one tenant does not keep the frames of another waiting', async () => {
  await afterInterval(10_000)
  const idle = new FakeOutbox(flusher, new WorkQueue())
  const busy = new FakeOutbox(flusher)
  for (let turns = 0; turns < 2; turns += 1) {
    idle.push()
    busy.push()
    await turn()
  }
  expect([idle.written, busy.written]).toEqual([[1, 1], [1]])
})

test.each([
  [50_000, 50],
  [100_000, 60],
  [300_000, 100],
  [900_000, 100],
])('at %i frames a second an interval lasts %i ms', async (perSecond, takesMs) => {
  await afterInterval((perSecond * intervalMs) / 1000)
  const outbox = new FakeOutbox(flusher)
  outbox.push()
  await turn()
  outbox.push()
  await turn()
  expect(outbox.written).toEqual([1])
  expect(timers).toMatchObject([{ delayMs: takesMs }])
})
