import { describe, expect, test } from 'vitest'
import { believable, holdersOf, standsBy, type ClusterView } from './cluster-view.js'

const addressOf = (id: string) => ({ host: id, port: 6379 })

/** Of masters `id: [config epoch, first slot, last slot, health]`. */
type Told = Record<string, [number, number, number, ('suspected' | 'failed')?]>

function view(selfId: string, told: Told, elsewhere: Record<string, string> = {}): ClusterView {
  const masters = Object.entries(told).map(([id, [configEpoch, from, to, health = 'well']]) => {
    const address = addressOf(elsewhere[id] ?? id)
    return [id, { id, address, configEpoch, ranges: [[from, to]], replicas: 1, health }] as const
  })
  return { kind: 'view', selfId, masters: new Map(masters), nodes: [] }
}

const before: Told = { a: [1, 0, 99], b: [2, 100, 199], c: [3, 200, 299] }
/** After a failover of a to its replica x. */
const after: Told = { x: [4, 0, 99], b: [2, 100, 199], c: [3, 200, 299] }

const hosts = (views: ClusterView[], ...slots: number[]) =>
  slots.map((slot) => holdersOf(slots, views).get(slot)?.address.host)

describe('who is believed', () => {
  test('those with whom more than half of their masters speak, replicas among them', () => {
    const views = [view('a', before), view('b', before), view('replica', before)]
    expect(believable(views)).toEqual(views)
  })

  test('nobody who speaks for a minority, not even when two of them agree', () => {
    expect(believable([view('a', before)])).toEqual([])
    expect(believable([view('a', before), view('replica of b', before)])).toEqual([])
    expect(believable([view('a', { a: [1, 0, 9], b: [2, 10, 19] })])).toEqual([])
  })

  test('not the master of the past, although its successors speak', () => {
    // It knows nothing of x, and neither b nor c speaks.
    expect(believable([view('a', before), view('x', after)])).toEqual([])
    const [b, x] = [view('b', after), view('x', after)]
    expect(believable([b, x])).toEqual([b, x])
  })

  test('nobody without slots', () => {
    expect(believable([view('a', {}), view('b', {})])).toEqual([])
  })
})

describe('who holds a slot', () => {
  test('the claim with the highest config epoch, whoever tells it', () => {
    const views = [view('a', before), view('b', after), view('c', before)]
    expect(hosts(views, 0, 99, 100, 299)).toEqual(['x', 'x', 'b', 'c'])
    expect(hosts(views.toReversed(), 0, 99, 100, 299)).toEqual(['x', 'x', 'b', 'c'])
  })

  test('nobody, when nobody claims it', () => {
    expect(hosts([view('a', before)], 300)).toEqual([undefined])
  })

  test('is met where it says itself', () => {
    const views = [
      view('b', before, { a: 'old-house' }),
      view('a', before),
      view('c', before, { a: 'old-house' }),
    ]
    expect(hosts(views, 0)).toEqual(['a'])
    expect(hosts(views.toReversed(), 0)).toEqual(['a'])
  })
})

describe('a master stands', () => {
  const voters = new Set(['a', 'b', 'c'])
  const stands = (...views: ClusterView[]) => standsBy(addressOf('a'), { views, voters })
  const suspecting: Told = { ...before, a: [1, 0, 99, 'suspected'] }
  const failing: Told = { ...before, a: [1, 0, 99, 'failed'] }

  test('when more than half of the masters see no trouble with it', () => {
    expect(stands(view('a', before), view('b', before), view('c', before))).toBe(true)
    expect(stands(view('b', before), view('c', before))).toBe(true)
    expect(stands(view('a', before), view('b', before), view('c', suspecting))).toBe(true)
  })

  test('not by its own word and its replicas’', () => {
    expect(stands(view('a', before), view('replica', before), view('other replica', before))).toBe(false)
  })

  test('not when one that may have voted holds it for failed', () => {
    expect(stands(view('a', before), view('b', before), view('c', failing))).toBe(false)
    expect(stands(view('a', before), view('b', before), view('c', before), view('replica', failing))).toBe(
      false,
    )
  })

  test('not when too many suspect it, or know another', () => {
    expect(stands(view('a', before), view('b', suspecting), view('c', suspecting))).toBe(false)
    expect(stands(view('a', before), view('b', after), view('c', after))).toBe(false)
  })
})
