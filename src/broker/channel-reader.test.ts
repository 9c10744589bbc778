import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Position, Publication } from './broker.js'
import { ChannelReader, type ReaderPage } from './channel-reader.js'

const generationSize = 2 ** 32
const pageMax = 3
const heldMax = 4

/** A call of the reader's port: a delivery, or a loss up to an offset. */
type Output =
  | { readonly got: number; readonly epoch: string }
  | { readonly lost: number; readonly epoch: string }

interface PendingRead {
  readonly since: Position
  readonly upTo: number | undefined
  resolve(page: ReaderPage): void
  reject(error: Error): void
}

/** A stream, a pub/sub that delivers messages as the test says, and timers that the test fires. */
class Rig {
  epoch = 'e1'
  /**
   * The offsets of all entries that were ever appended, by epoch. The first `trimmed` entries of the current
   * epoch are gone.
   */
  readonly all = new Map<string, number[]>([['e1', []]])
  trimmed = 0
  generation = 0
  readonly inFlight: Publication[] = []
  readonly reads: PendingRead[] = []
  readonly timers = new Map<number, { delayMs: number; fire: () => void }>()
  readonly outputs: Output[] = []
  readonly failures: unknown[] = []
  readonly reader: ChannelReader
  #timerId = 0

  constructor() {
    this.reader = new ChannelReader(
      {
        read: (since, upTo) =>
          new Promise((resolve, reject) => this.reads.push({ since, upTo, resolve, reject })),
        deliver: ({ epoch, offset }) => this.outputs.push({ got: offset, epoch }),
        lost: ({ epoch, offset }) => this.outputs.push({ lost: offset, epoch }),
        failed: (error) => this.failures.push(error),
      },
      {
        after: (delayMs, fire) => {
          this.#timerId += 1
          const id = this.#timerId
          this.timers.set(id, { delayMs, fire })
          return () => this.timers.delete(id)
        },
        holdMs: 50,
        heldMax,
        retryMs: 250,
      },
    )
  }

  get entries(): number[] {
    return this.all.get(this.epoch) ?? []
  }

  get top(): Position {
    return { epoch: this.epoch, offset: this.entries.at(-1) ?? 0 }
  }

  /** Appends to the stream and sends the message. */
  publish(): Publication {
    const last = this.entries.at(-1) ?? 0
    const offset =
      Math.floor(last / generationSize) === this.generation ? last + 1 : this.generation * generationSize
    this.entries.push(offset)
    const publication = { data: Buffer.from(''), offset, epoch: this.epoch, timeMs: 0 }
    this.inFlight.push(publication)
    return publication
  }

  /** Replaces the stream by an empty one with another epoch. */
  replace(): void {
    this.epoch = `e${this.all.size + 1}`
    this.all.set(this.epoch, [])
    this.trimmed = 0
    this.generation = 0
  }

  async answer({ fail = false } = {}): Promise<void> {
    const read = this.reads.shift()
    if (!read) return
    if (fail) read.reject(new Error('no connection'))
    else read.resolve(this.#page(read))
    // The reader needs a few microtasks to handle the page.
    for (let turn = 0; turn < 5; turn += 1) await Promise.resolve()
  }

  fireTimer(index = 0): void {
    const id = [...this.timers.keys()][index]
    if (id === undefined) return
    const timer = this.timers.get(id)
    this.timers.delete(id)
    timer?.fire()
  }

  /** Ends all reads and timers, and runs the comparison that production runs every 40 s. */
  async untilIdle(): Promise<void> {
    for (let round = 0; round < 3; round += 1) {
      while (this.reads.length > 0 || this.timers.size > 0) {
        if (this.reads.length > 0) await this.answer()
        else this.fireTimer()
      }
      this.reader.check()
    }
    while (this.reads.length > 0) await this.answer()
  }

  #page({ since, upTo = Infinity }: PendingRead): ReaderPage {
    const { entries, epoch, trimmed } = this
    const top = { epoch, offset: Math.min(upTo, this.top.offset) }
    if (since.epoch !== epoch) return { publications: [], continuous: false, top, cut: false }
    const after = entries.slice(trimmed).filter((offset) => offset > since.offset && offset <= upTo)
    const continuous =
      since.offset <= this.top.offset && !entries.slice(0, trimmed).some((offset) => offset > since.offset)
    const publications = after
      .slice(0, pageMax)
      .map((offset) => ({ data: Buffer.from(''), offset, epoch, timeMs: 0 }))
    return { publications, continuous, top, cut: after.length >= pageMax }
  }
}

function started(): Rig {
  const rig = new Rig()
  rig.reader.start(rig.top)
  return rig
}

const offsets = (rig: Rig) =>
  rig.outputs.map((output) => ('got' in output ? output.got : `lost ${output.lost}`))

describe('a message in order', () => {
  test('is delivered immediately, without a read or a timer', () => {
    const rig = started()
    for (let count = 0; count < 3; count += 1) rig.reader.onMessage(rig.publish())
    expect(offsets(rig)).toEqual([1, 2, 3])
    expect(rig.reads).toEqual([])
    expect(rig.timers.size).toBe(0)
  })

  test('that arrives twice is delivered once', () => {
    const rig = started()
    const [one, two] = [rig.publish(), rig.publish()]
    for (const message of [one, one, two, one, two]) rig.reader.onMessage(message)
    expect(offsets(rig)).toEqual([1, 2])
  })

  test('waits until the top has been read', () => {
    const rig = new Rig()
    const [one, two, three] = [rig.publish(), rig.publish(), rig.publish()]
    rig.reader.onMessage(three)
    rig.reader.onMessage(one)
    expect(offsets(rig)).toEqual([])
    rig.reader.start({ epoch: 'e1', offset: two.offset })
    expect(offsets(rig)).toEqual([3])
  })
})

describe('a message that arrives before its predecessor', () => {
  test('is held until its predecessor arrives', () => {
    const rig = started()
    const [one, two, three] = [rig.publish(), rig.publish(), rig.publish()]
    rig.reader.onMessage(three)
    rig.reader.onMessage(two)
    expect(offsets(rig)).toEqual([])
    rig.reader.onMessage(one)
    expect(offsets(rig)).toEqual([1, 2, 3])
    expect(rig.timers.size, 'the hold is over').toBe(0)
    expect(rig.reads).toEqual([])
  })

  test('makes the reader read after 50 ms, no further than to that message', async () => {
    const rig = started()
    rig.publish()
    const two = rig.publish()
    rig.publish()
    rig.reader.onMessage(two)
    expect([...rig.timers.values()].map(({ delayMs }) => delayMs)).toEqual([50])
    rig.fireTimer()
    expect(rig.reads).toMatchObject([{ since: { offset: 0 }, upTo: 2 }])
    await rig.answer()
    expect(offsets(rig)).toEqual([1, 2])
  })

  test('makes the reader read immediately when too many are held', () => {
    const rig = started()
    const [, ...others] = Array.from({ length: heldMax + 2 }, () => rig.publish())
    for (const message of others) rig.reader.onMessage(message)
    expect(rig.reads).toMatchObject([{ upTo: heldMax + 2 }])
  })

  test('makes the reader read when it is the first of a new generation', async () => {
    const rig = started()
    rig.reader.onMessage(rig.publish())
    rig.generation = 1
    rig.reader.onMessage(rig.publish())
    rig.fireTimer()
    await rig.answer()
    rig.reader.onMessage(rig.publish())
    expect(offsets(rig)).toEqual([1, generationSize, generationSize + 1])
  })
})

describe('during a read', () => {
  test('messages wait, and are delivered after what was read', async () => {
    const rig = started()
    rig.publish()
    rig.reader.onMessage(rig.publish())
    rig.fireTimer()
    rig.reader.onMessage(rig.publish())
    rig.reader.onMessage(rig.publish())
    await rig.answer()
    expect(offsets(rig)).toEqual([1, 2, 3, 4])
  })

  test('too many messages are dropped and read instead', async () => {
    const rig = started()
    rig.reader.check()
    for (let count = 0; count < heldMax + 1; count += 1) rig.reader.onMessage(rig.publish())
    await rig.untilIdle()
    expect(offsets(rig)).toEqual([1, 2, 3, 4, 5])
  })

  test('a failure is reported, and the read retried after 250 ms', async () => {
    const rig = started()
    rig.publish()
    rig.reader.check()
    await rig.answer({ fail: true })
    expect(rig.failures).toHaveLength(1)
    expect([...rig.timers.values()].map(({ delayMs }) => delayMs)).toEqual([250])
    rig.fireTimer()
    await rig.answer()
    expect(offsets(rig)).toEqual([1])
  })

  test('close() ends deliveries and timers', async () => {
    const rig = started()
    rig.publish()
    rig.reader.onMessage(rig.publish())
    rig.fireTimer()
    rig.reader.close()
    await rig.answer()
    rig.reader.onMessage(rig.publish())
    rig.reader.check()
    expect(offsets(rig)).toEqual([])
    expect(rig.timers.size).toBe(0)
    expect(rig.reads).toEqual([])
  })
})

describe('a loss is reported', () => {
  test('when entries were trimmed; the others are delivered', async () => {
    const rig = started()
    for (let count = 0; count < 5; count += 1) rig.publish()
    rig.trimmed = 2
    rig.reader.check()
    await rig.untilIdle()
    expect(offsets(rig)).toEqual(['lost 2', 3, 4, 5])
  })

  test('when the stream was replaced; the new one is followed from its top', async () => {
    const rig = started()
    rig.reader.onMessage(rig.publish())
    rig.replace()
    rig.publish()
    rig.reader.onMessage(rig.publish())
    await rig.answer()
    rig.reader.onMessage(rig.publish())
    expect(rig.outputs).toEqual([
      { got: 1, epoch: 'e1' },
      { lost: 2, epoch: 'e2' },
      { got: 3, epoch: 'e2' },
    ])
  })

  test('when the top of the stream is below the position', async () => {
    const rig = new Rig()
    rig.publish()
    rig.reader.start({ epoch: 'e1', offset: 7 })
    rig.reader.check()
    await rig.untilIdle()
    expect(offsets(rig)).toEqual(['lost 1'])
  })

  test('once: a late message of the replaced stream is ignored', async () => {
    const rig = started()
    const old = rig.publish()
    rig.replace()
    rig.publish()
    rig.reader.check()
    await rig.answer()
    rig.reader.onMessage(old)
    await rig.untilIdle()
    rig.reader.onMessage(rig.publish())
    expect(offsets(rig)).toEqual(['lost 1', 2])
  })
})

test('a check before the start runs after it', async () => {
  const rig = new Rig()
  rig.reader.check()
  rig.reader.start(rig.top)
  rig.publish()
  while (rig.reads.length > 0) await rig.answer()
  expect(offsets(rig)).toEqual([1])
})

test('before the start the number of held messages is bounded', async () => {
  const rig = new Rig()
  const { top } = rig
  for (let count = 0; count < 100; count += 1) rig.reader.onMessage(rig.publish())
  rig.reader.start(top)
  expect(offsets(rig)).toEqual([])
  await rig.untilIdle()
  expect(offsets(rig)).toEqual(Array.from({ length: 100 }, (_, index) => index + 1))
})

const step = fc.oneof(
  { weight: 6, arbitrary: fc.constant({ do: 'publish' as const }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('deliver' as const), at: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('lose' as const), at: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('repeat' as const), at: fc.nat(5) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('timer' as const), at: fc.nat(2) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('answer' as const), fail: fc.boolean() }) },
  { weight: 1, arbitrary: fc.constant({ do: 'check' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'start' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'failover' as const }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('trim' as const), count: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.constant({ do: 'replace' as const }) },
)

test('however pub/sub orders, loses or repeats messages, every entry is delivered once and in order, or reported as lost', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const rig = new Rig()
      let began: Position | undefined
      const begin = () => {
        if (began) return
        began = rig.top
        rig.reader.start(rig.top)
      }
      for (const one of steps) {
        const at = 'at' in one ? one.at : 0
        const message = rig.inFlight[at]
        if (one.do === 'publish') rig.publish()
        else if (one.do === 'deliver' && message) {
          rig.inFlight.splice(at, 1)
          rig.reader.onMessage(message)
        } else if (one.do === 'lose') rig.inFlight.splice(at, 1)
        else if (one.do === 'repeat' && message) rig.reader.onMessage(message)
        else if (one.do === 'timer') rig.fireTimer(at)
        else if (one.do === 'answer') await rig.answer({ fail: one.fail })
        else if (one.do === 'check') rig.reader.check()
        else if (one.do === 'start') begin()
        else if (one.do === 'failover') rig.generation += 1
        else if (one.do === 'trim') rig.trimmed = Math.min(rig.trimmed + one.count, rig.entries.length)
        else if (one.do === 'replace') rig.replace()
      }
      begin()
      await rig.untilIdle()
      expect(gapsIn(rig, began ?? rig.top)).toEqual([])
      expect(rig.reader.position).toEqual(rig.top)
      expect(rig.timers.size).toBe(0)
    }),
    { numRuns: 2_000 },
  )
})

/** The outputs that skip an entry, repeat one or go back. */
function gapsIn(rig: Rig, began: Position): string[] {
  const gaps: string[] = []
  let at = began
  for (const output of rig.outputs) {
    if ('lost' in output) {
      at = { epoch: output.epoch, offset: output.lost }
      continue
    }
    const next = rig.all.get(output.epoch)?.find((offset) => offset > at.offset)
    if (output.epoch !== at.epoch || output.got !== next)
      gaps.push(`${output.epoch}:${output.got} after ${at.epoch}:${at.offset}`)
    at = { epoch: output.epoch, offset: output.got }
  }
  return gaps
}
