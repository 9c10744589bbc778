import { describe, expect, test } from 'vitest'
import type { Publication } from '../broker/broker.js'
import type { Session } from './session.js'
import { Subscription } from './subscription.js'

const session = { id: 's1', identity: { info: { user: 'ann', client: 'c' } } } as unknown as Session

function subscription(): Subscription {
  return new Subscription(
    session,
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
  test('collects what comes, and lets nothing through', () => {
    const catching = subscription()
    expect([1, 2].map((offset) => catching.accepts(publication(offset)))).toEqual([false, false])
    expect(catching.collected().map(({ offset }) => offset)).toEqual([1, 2])
  })

  test('collects the session’s own too: whoever answers sorts them out', () => {
    const catching = subscription()
    catching.accepts(publication(1, { skipSession: 's1' }))
    expect(catching.collected()).toHaveLength(1)
  })

  test('keeps at most a thousand, and says up to where the rest is lost', () => {
    const catching = subscription()
    for (let offset = 1; offset <= 1000; offset += 1) catching.accepts(publication(offset))
    expect([catching.collected().length, catching.lostUntil]).toEqual([1000, undefined])
    for (let offset = 1001; offset <= 1005; offset += 1) catching.accepts(publication(offset))
    expect([catching.collected().length, catching.lostUntil]).toMatchObject([
      1000,
      { epoch: 'e', offset: 1005 },
    ])
  })

  test('remembers continuity that is lost meanwhile', () => {
    const catching = subscription()
    catching.accepts(publication(1))
    catching.lose({ epoch: 'f', offset: 9 })
    expect(catching.lostUntil).toEqual({ epoch: 'f', offset: 9 })
  })
})

describe('live', () => {
  test('lets through what follows its position', () => {
    const live = liveAt(5)
    expect([6, 7].map((offset) => live.accepts(publication(offset)))).toEqual([true, true])
  })

  test('drops what its answer held already', () => {
    const live = liveAt(5)
    expect([4, 5].map((offset) => live.accepts(publication(offset)))).toEqual([false, false])
  })

  test('lets through what has no place, as often as it comes', () => {
    const live = liveAt(5)
    expect([0, 0].map((offset) => live.accepts(publication(offset)))).toEqual([true, true])
  })

  test('of a channel without history needs no position', () => {
    const live = subscription()
    live.goLive(undefined)
    expect(live.accepts(publication(0))).toBe(true)
  })

  test('takes another epoch for another stream, whatever the offset', () => {
    const live = liveAt(5)
    expect(live.accepts(publication(1, { epoch: 'f' }))).toBe(true)
    expect(live.accepts(publication(1, { epoch: 'f' }))).toBe(false)
  })

  test('skips what the session itself published without echo, and stands behind it', () => {
    const live = liveAt(5)
    expect(live.accepts(publication(6, { skipSession: 's1' }))).toBe(false)
    expect(live.accepts(publication(6))).toBe(false)
    expect(live.accepts(publication(7, { skipSession: 'another' }))).toBe(true)
  })

  test('goes on from where continuity was lost', () => {
    const live = liveAt(5)
    live.jumpTo({ epoch: 'f', offset: 9 })
    expect([9, 10].map((offset) => live.accepts(publication(offset, { epoch: 'f' })))).toEqual([false, true])
  })
})

describe('ended', () => {
  test('lets nothing through', () => {
    const ended = liveAt(5)
    ended.end()
    expect([ended.accepts(publication(6)), ended.live, ended.ended]).toEqual([false, false, true])
  })

  test('does not come back to life when its answer is sent after all', () => {
    const ended = subscription()
    ended.end()
    ended.goLive({ epoch: 'e', offset: 1 })
    expect([ended.live, ended.ended]).toEqual([false, true])
  })
})
