import { describe, expect, test } from 'vitest'
import {
  quorumOf,
  dataNodesIn,
  holdersOf,
  confirmsMaster,
  typicalDataNodes,
  votersIn,
  type ClusterView,
} from './cluster-view.js'

const addressOf = (id: string) => ({ host: id, port: 6379 })

/** Masters by id: config epoch, first slot, last slot, health (default healthy). */
type MasterTable = Record<string, [number, number, number, ('suspected' | 'failed')?]>

function view(
  selfId: string,
  masterTable: MasterTable,
  otherHosts: Record<string, string> = {},
): ClusterView {
  const masters = Object.entries(masterTable).map(
    ([id, [configEpoch, from, to, health = 'healthy' as const]]) => {
      const address = addressOf(otherHosts[id] ?? id)
      return [id, { id, address, configEpoch, ranges: [[from, to]], replicas: 1, health }] as const
    },
  )
  return { kind: 'view', selfId, masters: new Map(masters), nodes: [] }
}

const before: MasterTable = { a: [1, 0, 99], b: [2, 100, 199], c: [3, 200, 299] }
/** After a failover from a to its replica x. */
const after: MasterTable = { x: [4, 0, 99], b: [2, 100, 199], c: [3, 200, 299] }

const hosts = (views: ClusterView[], ...slots: number[]) =>
  slots.map((slot) => holdersOf(slots, views).get(slot)?.address.host)

describe('the quorum of the answering nodes', () => {
  test('is a majority of the masters that one of them lists, or all of them', () => {
    expect(quorumOf([view('a', before), view('replica', before)])).toBe('minority')
    expect(quorumOf([view('a', before), view('replica', before), view('b', before)])).toBe('majority')
    expect(quorumOf([view('a', before), view('b', before), view('c', before)])).toBe('all')
    expect(quorumOf([view('a', { a: [1, 0, 9], b: [2, 10, 19] })])).toBe('minority')
  })

  test('does not include a stale master that does not know its successor', () => {
    expect(quorumOf([view('a', before)])).toBe('minority')
    expect(quorumOf([view('a', before), view('x', after)])).toBe('minority')
    expect(quorumOf([view('b', after), view('x', after)])).toBe('majority')
  })

  test('does not exist without slots', () => {
    expect(quorumOf([view('a', {}), view('b', {})])).toBe('minority')
    expect(quorumOf([])).toBe('minority')
  })
})

describe('the holder of a slot', () => {
  test('is the master with the highest config epoch, regardless of which node reports it', () => {
    const views = [view('a', before), view('b', after), view('c', before)]
    expect(hosts(views, 0, 99, 100, 299)).toEqual(['x', 'x', 'b', 'c'])
    expect(hosts(views.toReversed(), 0, 99, 100, 299)).toEqual(['x', 'x', 'b', 'c'])
  })

  test('is the newest claim that any node reports or has reported', () => {
    expect(hosts([view('a', before), view('c', after)], 0)).toEqual(['x'])
    const known = holdersOf([0, 100, 300], [view('b', { ...after, d: [5, 300, 399] })])
    const now = holdersOf([0, 100, 300], [view('a', before), view('c', before, { b: 'new-host' })], known)
    expect([...now.values()].map(({ address }) => address.host)).toEqual(['x', 'new-host', 'd'])
  })

  test('is not a master that disclaims the slot, even if other nodes report it as the holder', () => {
    const gone: MasterTable = { a: [4, 0, 149], b: [5, 150, 199], c: [3, 200, 299] }
    // This replica missed that slots 100 to 149 moved to a, and has learned of b's newer epoch since.
    const late: MasterTable = { a: [4, 0, 99], b: [5, 100, 199], c: [3, 200, 299] }
    const views = [view('a', gone), view('b', gone), view('c', gone), view('replica', late)]
    expect(hosts(views, 100, 150)).toEqual(['a', 'b'])
    const known = holdersOf([100], [view('replica', late)])
    expect(holdersOf([100], views.slice(0, 3), known).get(100)?.address.host).toBe('a')
    // A master whose last answer is from an earlier epoch disclaims nothing about the newer one.
    expect(hosts([view('a', before), view('b', before), view('c', late)], 100)).toEqual(['b'])
    expect(hosts([view('b', before), view('c', { b: [4, 0, 199], c: [3, 200, 299] })], 0)).toEqual(['b'])
  })

  test('is undefined when no master claims it', () => {
    expect(hosts([view('a', before)], 300)).toEqual([undefined])
  })

  test('has the address that the master itself reports', () => {
    const views = [
      view('b', before, { a: 'old-host' }),
      view('a', before),
      view('c', before, { a: 'old-host' }),
    ]
    expect(hosts(views, 0)).toEqual(['a'])
    expect(hosts(views.toReversed(), 0)).toEqual(['a'])
  })
})

test('a replaced master has no vote', () => {
  expect(votersIn([view('a', before), view('b', after), view('c', before)])).toEqual(new Set(['x', 'b', 'c']))
})

describe('data nodes', () => {
  test('are counted for each voter, by the highest number that any node reports', () => {
    const { masters, ...rest } = view('b', before)
    const withoutReplicas = new Map([...masters].map(([id, master]) => [id, { ...master, replicas: 0 }]))
    const counts = dataNodesIn([view('a', after), { ...rest, masters: withoutReplicas }], new Set(['x', 'b']))
    expect(counts).toEqual(
      new Map([
        ['x', 2],
        ['b', 2],
      ]),
    )
  })

  test('are typical when at least half of the shards have that many; a shard without a replica may have lost it', () => {
    expect(typicalDataNodes([3, 3, 3])).toBe(3)
    expect(typicalDataNodes([2, 6, 2])).toBe(2)
    expect(typicalDataNodes([6, 3])).toBe(3)
    expect(typicalDataNodes([1, 2, 1])).toBe(2)
    expect(typicalDataNodes([1, 5, 1])).toBe(2)
    expect(typicalDataNodes([1, 1, 1])).toBe(1)
    expect(typicalDataNodes([])).toBe(0)
  })
})

describe('a master is confirmed', () => {
  const voters = new Set(['a', 'b', 'c'])
  const confirmed = (...views: ClusterView[]) => confirmsMaster(addressOf('a'), { views, voters })
  const suspecting: MasterTable = { ...before, a: [1, 0, 99, 'suspected'] }
  const failing: MasterTable = { ...before, a: [1, 0, 99, 'failed'] }

  test('when more than half of the masters consider it healthy', () => {
    expect(confirmed(view('a', before), view('b', before), view('c', before))).toBe(true)
    expect(confirmed(view('b', before), view('c', before))).toBe(true)
    expect(confirmed(view('a', before), view('b', before), view('c', suspecting))).toBe(true)
  })

  test('not by only itself and its replicas', () => {
    expect(confirmed(view('a', before), view('replica', before), view('other replica', before))).toBe(false)
  })

  test('not when a node that may have voted considers it failed', () => {
    expect(confirmed(view('a', before), view('b', before), view('c', failing))).toBe(false)
    expect(confirmed(view('a', before), view('b', before), view('c', before), view('replica', failing))).toBe(
      false,
    )
  })

  test('not when too many suspect it or know another master', () => {
    expect(confirmed(view('a', before), view('b', suspecting), view('c', suspecting))).toBe(false)
    expect(confirmed(view('a', before), view('b', after), view('c', after))).toBe(false)
  })
})
