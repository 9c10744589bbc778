import { describe, expect, test } from 'vitest'
import type { Publication } from '../broker/broker.js'
import { Subscription, type Subscriber } from './subscription.js'

let heldBytes = 0
const client = {
  id: 's1',
  identity: { info: { user: 'ann', client: 'c' } },
  hold: (bytes: number) => void (heldBytes += bytes),
} as unknown as Subscriber

function subscription(): Subscription {
  return new Subscription(
    client,
    { tenantId: 't', channel: 'general' },
    { positioned: true, joinLeave: false, present: false, byToken: false },
  )
}

const publication = (offset: number, changes: Partial<Publication> = {}): Publication => ({
  data: Buffer.from(String(offset)),
  epoch: offset === 0 ? '' : 'e',
  offset,
  timeMs: 1,
  ...changes,
})

function liveAt(offset: number): Subscription {
  const live = subscription()
  live.goLive({ epoch: 'e', offset })
  return live
}

describe('catching up', () => {
  test('collects what arrives, and delivers nothing', () => {
    const catching = subscription()
    expect([1, 2].map((offset) => catching.accepts(publication(offset)))).toEqual([false, false])
    expect(catching.collected().map(({ offset }) => offset)).toEqual([1, 2])
  })

  test('collects the session’s own publications too: the reply leaves them out', () => {
    const catching = subscription()
    catching.accepts(publication(1, { skipSession: 's1' }))
    expect(catching.collected()).toHaveLength(1)
  })

  test('keeps at most 1,000, and reports the position up to which the rest is lost', () => {
    const catching = subscription()
    for (let offset = 1; offset <= 1000; offset += 1) catching.accepts(publication(offset))
    expect([catching.collected().length, catching.lostUntil]).toEqual([1000, undefined])
    for (let offset = 1001; offset <= 1005; offset += 1) catching.accepts(publication(offset))
    expect([catching.collected().length, catching.lostUntil]).toMatchObject([
      1000,
      { epoch: 'e', offset: 1005 },
    ])
  })

  test.each(['goLive', 'end'] as const)('counts the bytes that it collects, until %s()', (ending) => {
    heldBytes = 0
    const catching = subscription()
    for (const offset of [1, 2]) catching.accepts(publication(offset, { data: Buffer.alloc(100) }))
    expect(heldBytes).toBe(200)
    catching[ending](undefined)
    catching.end()
    expect(heldBytes).toBe(0)
  })

  test('remembers continuity that is lost meanwhile', () => {
    const catching = subscription()
    catching.accepts(publication(1))
    catching.recordLoss({ epoch: 'f', offset: 9 })
    expect(catching.lostUntil).toEqual({ epoch: 'f', offset: 9 })
  })
})

describe('live', () => {
  test('delivers what follows its position', () => {
    const live = liveAt(5)
    expect([6, 7].map((offset) => live.accepts(publication(offset)))).toEqual([true, true])
  })

  test('drops what its reply already contained', () => {
    const live = liveAt(5)
    expect([4, 5].map((offset) => live.accepts(publication(offset)))).toEqual([false, false])
  })

  test('delivers publications without an offset, as often as they come', () => {
    const live = liveAt(5)
    expect([0, 0].map((offset) => live.accepts(publication(offset)))).toEqual([true, true])
  })

  test('needs no position on a channel without history', () => {
    const live = subscription()
    live.goLive(undefined)
    expect(live.accepts(publication(0))).toBe(true)
  })

  test('treats another epoch as another stream, whatever the offset', () => {
    const live = liveAt(5)
    expect(live.accepts(publication(1, { epoch: 'f' }))).toBe(true)
    expect(live.accepts(publication(1, { epoch: 'f' }))).toBe(false)
  })

  test('skips what the session published without echo, and moves past it', () => {
    const live = liveAt(5)
    expect(live.accepts(publication(6, { skipSession: 's1' }))).toBe(false)
    expect(live.accepts(publication(6))).toBe(false)
    expect(live.accepts(publication(7, { skipSession: 'another' }))).toBe(true)
  })

  test('continues after the position where continuity was lost', () => {
    const live = liveAt(5)
    live.jumpTo({ epoch: 'f', offset: 9 })
    expect([9, 10].map((offset) => live.accepts(publication(offset, { epoch: 'f' })))).toEqual([false, true])
  })
})

describe('ended', () => {
  test('delivers nothing', () => {
    const ended = liveAt(5)
    ended.end()
    expect([ended.accepts(publication(6)), ended.live, ended.ended]).toEqual([false, false, true])
  })

  test('stays ended when its reply is sent after all', () => {
    const ended = subscription()
    ended.end()
    ended.goLive({ epoch: 'e', offset: 1 })
    expect([ended.live, ended.ended]).toEqual([false, true])
  })
})
