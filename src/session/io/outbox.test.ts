import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../auth/auth.testing.js'
import { systemAfter } from '../../time.js'
import { FairScheduler } from '../sharing/fair-scheduler.js'
import { WorkQueue } from '../sharing/work-queue.js'
import { Flusher } from './flusher.js'
import { Outbox, type OutboxBounds } from './outbox.js'
import { FakeTransport, frame, turn } from '../session.testing.js'

function outboxWith(bounds: Partial<OutboxBounds> = {}) {
  const clock = new ManualClock()
  const transport = new FakeTransport()
  const slow: number[] = []
  const sent: number[] = []
  const held = { bytes: 0 }
  const onError = (error: unknown): never => {
    throw error
  }
  const scheduler = new FairScheduler({ clock, onError })
  const flusher = new Flusher({ clock, after: systemAfter, scheduler })
  const outbox = new Outbox(transport, {
    flusher,
    bounds: { bytesMax: 1000, ageMaxMs: 10_000, ...bounds },
    clock,
    work: new WorkQueue(),
    owner: {
      onSlow: () => void slow.push(clock.monotonicMs()),
      onSent: (bytes) => void sent.push(bytes),
      onHeld: (bytes) => void (held.bytes += bytes),
      onBlocked() {},
    },
  })
  return { held, clock, flusher, outbox, sent, slow, transport }
}

/** An outbox whose first write, of `first`, the kernel did not take completely. */
function blocked(bounds: Partial<OutboxBounds> = {}) {
  const parts = outboxWith(bounds)
  parts.transport.acceptsWrites = false
  parts.outbox.push(frame('first'))
  parts.outbox.flush()
  return parts
}

describe('coalescing', () => {
  test('frames of one turn are one write, in order', async () => {
    const { outbox, transport } = outboxWith()
    for (const text of ['a', 'b', 'c']) outbox.push(frame(text))
    expect(transport.writes).toEqual([])
    await turn()
    expect(transport.writes).toEqual([['a', 'b', 'c']])
  })

  test('frames of two turns are two writes', async () => {
    const { outbox, transport } = outboxWith()
    outbox.push(frame('a'))
    await turn()
    outbox.push(frame('b'))
    await turn()
    expect(transport.writes).toEqual([['a'], ['b']])
  })

  test('a large burst is written before its turn ends', () => {
    const { outbox, transport } = outboxWith({ bytesMax: 1000 })
    outbox.push(frame('x'.repeat(200)))
    outbox.push(frame('y'.repeat(100)))
    expect(transport.writes).toHaveLength(1)
  })

  test('a burst of any size does not make a client slow while the kernel takes it', async () => {
    const { outbox, slow, transport } = outboxWith({ bytesMax: 1000 })
    for (let n = 0; n < 100; n += 1) outbox.push(frame('x'.repeat(100)))
    await turn()
    expect(slow).toEqual([])
    expect(transport.texts).toHaveLength(100)
  })

  test('sent bytes are counted once per write', async () => {
    const { outbox, sent } = outboxWith()
    outbox.push(frame('abc'))
    outbox.push(frame('de'))
    expect(sent).toEqual([])
    await turn()
    expect(sent).toEqual([5])
  })

  test('outboxes of one turn share one flush', async () => {
    const { flusher, outbox, transport } = outboxWith()
    const other = new FakeTransport()
    const second = new Outbox(other, {
      flusher,
      bounds: { bytesMax: 1000, ageMaxMs: 10_000 },
      clock: new ManualClock(),
      work: new WorkQueue(),
      owner: { onSlow() {}, onSent() {}, onHeld() {}, onBlocked() {} },
    })
    outbox.push(frame('a'))
    second.push(frame('b'))
    await turn()
    expect([transport.texts, other.texts]).toEqual([['a'], ['b']])
  })
})

describe('while the kernel takes no more', () => {
  test('frames wait, and are sent in one write once drained', async () => {
    const { outbox, transport } = blocked()
    outbox.push(frame('a'))
    outbox.push(frame('b'))
    await turn()
    expect(transport.writes).toEqual([['first']])
    transport.acceptsWrites = true
    outbox.drained()
    expect(transport.writes).toEqual([['first'], ['a', 'b']])
  })

  test('later frames are sent again once drained', async () => {
    const { outbox, transport } = blocked()
    transport.acceptsWrites = true
    outbox.drained()
    outbox.push(frame('a'))
    await turn()
    expect(transport.texts).toEqual(['first', 'a'])
  })

  test('more bytes than the bound are reported as slow once', () => {
    const { outbox, slow } = blocked({ bytesMax: 1000 })
    for (let n = 0; n < 11; n += 1) outbox.push(frame('x'.repeat(100)))
    expect(slow).toHaveLength(0)
    outbox.push(frame('x'))
    outbox.push(frame('x'))
    expect(slow).toHaveLength(1)
  })

  test('the bytes of the transport count too', () => {
    const { outbox, slow, transport } = blocked({ bytesMax: 1000 })
    transport.bufferedBytes = 1001
    outbox.push(frame('x'))
    expect(slow).toHaveLength(1)
  })

  test('bytes that wait longer than the bound are reported with the next frame', () => {
    const { clock, outbox, slow } = blocked({ ageMaxMs: 10_000 })
    clock.advance(10_000)
    outbox.push(frame('x'))
    expect(slow).toHaveLength(0)
    clock.advance(1)
    outbox.push(frame('x'))
    expect(slow).toHaveLength(1)
  })

  test('bytes that wait longer than the bound are reported by checkAge()', () => {
    const { clock, outbox, slow } = blocked({ ageMaxMs: 10_000 })
    clock.advance(10_001)
    outbox.checkAge()
    expect(slow).toHaveLength(1)
  })

  test('the age counts from the last write that the kernel did not take', () => {
    const { clock, outbox, slow } = blocked({ ageMaxMs: 10_000 })
    outbox.push(frame('a'))
    clock.advance(8_000)
    // The kernel has taken the first frame, and does not take the second.
    outbox.drained()
    clock.advance(8_000)
    outbox.checkAge()
    expect(slow).toHaveLength(0)
  })
})

describe('the memory that a client holds', () => {
  const overhead = 128

  test('is nothing while the kernel takes everything', async () => {
    const { held, outbox } = outboxWith()
    outbox.push(frame('a'))
    expect(held.bytes).toBe(0)
    await turn()
    expect(held.bytes).toBe(0)
  })

  test('is what the kernel has not taken and what waits for it, until it is taken', () => {
    const { held, outbox, transport } = blocked()
    expect(held.bytes).toBe(5 + overhead)
    outbox.push(frame('ab'))
    expect(held.bytes).toBe(7 + 2 * overhead)
    transport.acceptsWrites = true
    outbox.drained()
    expect(held.bytes).toBe(0)
  })

  test('is free when the outbox closes', () => {
    const { held, outbox } = blocked()
    outbox.push(frame('ab'))
    outbox.close()
    expect(held.bytes).toBe(0)
  })

  test('counts a frame once that waits in several outboxes', () => {
    const [one, other] = [blocked(), blocked()]
    const shared = frame('x'.repeat(100))
    const before = one.held.bytes + other.held.bytes
    one.outbox.push(shared)
    other.outbox.push(shared)
    expect(one.held.bytes + other.held.bytes - before).toBe(100 + overhead)
    one.outbox.close()
    expect(one.held.bytes + other.held.bytes).toBe(before - 5 - overhead + 100 + overhead)
    other.outbox.close()
    expect(one.held.bytes + other.held.bytes).toBe(0)
  })
})

describe('hold()', () => {
  test('keeps frames back until the first frame is released', async () => {
    const { outbox, transport } = outboxWith()
    outbox.hold()
    outbox.push(frame('b'))
    outbox.push(frame('c'))
    await turn()
    expect(transport.writes).toEqual([])
    outbox.release(frame('a'))
    await turn()
    outbox.push(frame('d'))
    await turn()
    expect(transport.writes).toEqual([['a', 'b', 'c'], ['d']])
  })

  test('frames pushed before it are sent before', async () => {
    const { outbox, transport } = outboxWith()
    outbox.push(frame('before'))
    outbox.hold()
    outbox.push(frame('b'))
    outbox.release(frame('a'))
    await turn()
    expect(transport.texts).toEqual(['before', 'a', 'b'])
  })

  test('held frames have a bound in bytes, and none in age', () => {
    const { clock, outbox, slow } = outboxWith({ bytesMax: 1000, ageMaxMs: 10_000 })
    outbox.hold()
    outbox.push(frame('x'.repeat(1001)))
    clock.advance(60_000)
    outbox.push(frame(''))
    expect(slow).toEqual([60_000])
    const other = outboxWith({ ageMaxMs: 10_000 })
    other.outbox.hold()
    other.outbox.push(frame('x'))
    other.clock.advance(60_000)
    other.outbox.push(frame('x'))
    expect(other.slow).toEqual([])
  })

  test('held frames also wait for the kernel', () => {
    const { outbox, transport } = blocked()
    outbox.hold()
    outbox.push(frame('b'))
    outbox.drained()
    expect(transport.texts).toEqual(['first'])
    outbox.release(frame('a'))
    outbox.flush()
    expect(transport.texts).toEqual(['first', 'a', 'b'])
  })
})

describe('close()', () => {
  test('drops waiting frames, and accepts no more', async () => {
    const { outbox, transport } = outboxWith()
    outbox.push(frame('a'))
    outbox.close()
    outbox.push(frame('b'))
    outbox.drained()
    await turn()
    expect(transport.writes).toEqual([])
  })

  test('reports no slow client afterwards', () => {
    const { clock, outbox, slow } = blocked()
    outbox.close()
    clock.advance(60_000)
    outbox.checkAge()
    expect(slow).toEqual([])
  })
})
