// Tests of fenced reads on a scripted connection.
import type { ChainableCommander, Redis } from 'ioredis'
import { expect, test } from 'vitest'
import type { Position } from '../../src/broker/broker.js'
import { StreamReader } from '../../src/broker/redis/stream-reader.js'
import { RedirectedError } from '../../src/redis/routing/redirects.js'
import { fenceKey } from '../../src/redis/keys.js'
import { locationOf } from '../../src/broker/redis/channel-keys.js'
import { writeFence } from '../../src/broker/redis/scripts.js'
import type { LiveRedis, RedisLink } from '../../src/redis/link.js'

const ref = { tenantId: 't1', channel: 'room:1' }
const page = [Buffer.from('epoch'), Buffer.from('0-3'), 0, [], 1_764_534_880_000]

/** With `pipelines`, every read is answered with a page, and the streams of each pipeline are recorded. */
function rig(replies: (fence: string) => unknown[], pipelines?: string[][]) {
  const fences: string[] = []
  let scripts = 0
  const live: LiveRedis = {
    client: {
      pipeline() {
        const fake = {
          fence: '',
          streams: [] as string[],
          callBuffer(_: string, sha: string, _keys: number, key: string) {
            if (sha === writeFence.sha) fake.fence = key
            else {
              scripts += 1
              fake.streams.push(key)
            }
            return fake
          },
          call: () => fake,
        }
        return fake
      },
    } as unknown as Redis,
    lost: new AbortController().signal,
    async run(pipeline: ChainableCommander) {
      const { fence, streams } = pipeline as unknown as { fence: string; streams: string[] }
      fences.push(fence)
      if (!pipelines) return replies(fence)
      pipelines.push(streams)
      return [...streams.map(() => page), 'OK', 1]
    },
    confirmMaster: async () => true,
    discard: () => {},
  }
  const link: RedisLink = {
    current: live,
    unavailableReason: undefined,
    ready: async () => live,
    onOpen: () => {},
  }
  const reader = new StreamReader(
    {
      link,
      retired: new AbortController().signal,
      gatewayId: 'g1',
      partitions: () => [5, 6],
      waitReplicas: () => 1,
      waitMs: 1_000,
      patienceMs: 1_000,
    },
    { fence: true },
  )
  const read = (query: { limit: number; since?: Position } = { limit: 1 }) =>
    reader.read({ ...locationOf(ref), partition: 7, ...query })
  const readAt = (at: { tenantId: string; channel: string }) =>
    reader.read({ ...locationOf(at), partition: 7, limit: 1 })
  return { read, readAt, fences, scripts: () => scripts }
}

test('a fence is written to a partition of the shard, and covers reads of other partitions', async () => {
  const { fences, read } = rig(() => [page, 'OK', 1])
  expect(await read()).toMatchObject({ fenced: true, top: { epoch: 'epoch', offset: 3 } })
  expect(fences).toEqual([fenceKey(5, 'g1')])
})

test('when a fence is refused because its partition moves, the next is written to another partition', async () => {
  const { fences, read } = rig((fence) => [
    page,
    fence === fenceKey(5, 'g1') ? new Error('ASK 1 127.0.0.1:7000') : 'OK',
    1,
  ])
  await expect(read()).rejects.toThrow(RedirectedError)
  expect(await read()).toMatchObject({ fenced: true })
  expect(fences).toEqual([fenceKey(5, 'g1'), fenceKey(6, 'g1')])
})

test('a read of a partition that has moved is redirected', async () => {
  const { read } = rig(() => [new Error('MOVED 1 127.0.0.1:7000'), 'OK', 1])
  await expect(read()).rejects.toThrow(RedirectedError)
})

test('a page is not fenced when too few replicas confirm it', async () => {
  const { read } = rig(() => [page, 'OK', 0])
  expect(await read()).toMatchObject({ fenced: false })
})

test('equal reads of one turn share an answer, and a later read gets its own', async () => {
  const { fences, read, scripts } = rig(() => [page, 'OK', 1])
  const [one, other] = await Promise.all([read(), read()])
  expect(one).toBe(other)
  expect(scripts()).toBe(1)
  expect(await read()).not.toBe(one)
  expect(fences).toHaveLength(2)
})

test('reads with another limit, offset or epoch are sent separately', async () => {
  const { read, scripts } = rig(() => [page, page, page, page, 'OK', 1])
  const since = (epoch: string, offset: number) => ({ limit: 1, since: { epoch, offset } })
  await Promise.all([read(), read({ limit: 2 }), read(since('epoch', 1)), read(since('other', 1))])
  expect(scripts()).toBe(4)
})

test('equal reads of one turn share a rejection', async () => {
  const { read } = rig(() => [new Error('MOVED 1 127.0.0.1:7000'), 'OK', 1])
  const refused = await Promise.allSettled([read(), read()])
  expect(refused.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
})

test('a tenant with a backlog of reads delays another tenant by at most one pipeline', async () => {
  const pipelines: string[][] = []
  const { readAt } = rig(() => [], pipelines)
  const backlog = Array.from({ length: 5_000 }, (_, n) => readAt({ tenantId: 'a', channel: `room:${n}` }))
  const other = readAt({ tenantId: 'b', channel: 'room:1' })
  await Promise.all([other, ...backlog])
  expect(pipelines.findIndex((keys) => keys.some((key) => key.includes(':b:')))).toBe(0)
  expect(Math.max(...pipelines.map(({ length }) => length))).toBe(64)
})
