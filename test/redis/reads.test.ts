// Fenced reads, with a connection that does as it is told.
import type { ChainableCommander, Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { StreamReads } from '../../src/broker/redis-reads.js'
import { ElsewhereError } from '../../src/redis/elsewhere.js'
import { epochKey, fenceKey, streamKey } from '../../src/redis/keys.js'
import type { LiveRedis, RedisLink } from '../../src/redis/live.js'

const ref = { tenantId: 't1', channel: 'room:1' }
const page = [Buffer.from('epoch'), Buffer.from('0-3'), 0, []]

function rig(replies: (fence: string) => unknown[]) {
  const fences: string[] = []
  const live: LiveRedis = {
    client: {
      pipeline() {
        const fake = {
          fence: '',
          callBuffer: () => fake,
          call: () => fake,
          set: (key: string) => ((fake.fence = key), fake),
        }
        return fake
      },
    } as unknown as Redis,
    lost: new AbortController().signal,
    async run(pipeline: ChainableCommander) {
      const { fence } = pipeline as unknown as { fence: string }
      fences.push(fence)
      return replies(fence)
    },
    stands: async () => true,
    discard: () => {},
  }
  const link: RedisLink = { current: live, trouble: undefined, ready: async () => live, onOpen: () => {} }
  const reads = new StreamReads(
    {
      link,
      retired: new AbortController().signal,
      gatewayId: 'g1',
      partitions: () => [5, 6],
      waitReplicas: () => 1,
      waitMs: 1_000,
      epochMs: () => 0,
      patienceMs: 1_000,
    },
    { fence: true },
  )
  const read = () =>
    reads.read({ partition: 7, streamKey: streamKey(ref), epochKey: epochKey(ref), limit: 1 })
  return { read, fences }
}

test('a fence stands in a partition of the shard, and covers what is read in others', async () => {
  const { fences, read } = rig(() => [page, 'OK', 1])
  expect(await read()).toMatchObject({ fenced: true, top: { epoch: 'epoch', offset: 3 } })
  expect(fences).toEqual([fenceKey(5, 'g1')])
})

test('where a fence is refused because its partition moves, the next stands in another', async () => {
  const { fences, read } = rig((fence) => [
    page,
    fence === fenceKey(5, 'g1') ? new Error('ASK 1 127.0.0.1:7000') : 'OK',
    1,
  ])
  await expect(read()).rejects.toThrow(ElsewhereError)
  expect(await read()).toMatchObject({ fenced: true })
  expect(fences).toEqual([fenceKey(5, 'g1'), fenceKey(6, 'g1')])
})

test('what lies elsewhere is said to', async () => {
  const { read } = rig(() => [new Error('MOVED 1 127.0.0.1:7000'), 'OK', 1])
  await expect(read()).rejects.toThrow(ElsewhereError)
})

test('a page that too few replicas confirm is not fenced', async () => {
  const { read } = rig(() => [page, 'OK', 0])
  expect(await read()).toMatchObject({ fenced: false })
})
