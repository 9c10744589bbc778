// The revocations that gateways share through a real Redis: what they promise, and what remains of it when a
// gateway is cut from Redis, or when Redis loses its data.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { revocationContract } from '../../src/revocation/store.contract.js'
import { deadlineMs } from '../support/waiting.js'
import { RevocationSet } from '../../src/tenant/revocations.js'
import { systemClock } from '../../src/time.js'
import { RedisProxy } from '../support/redis-proxy.js'
import { endRevocations, openTestRevocations, type TestRevocations } from '../support/redis-revocations.js'
import { endRedisProcesses, startRedis, until, type RedisProcess } from '../support/redis-processes.js'

let redis: RedisProcess
const ignoring = { revoked() {} }

beforeAll(async () => {
  redis = await startRedis()
})
beforeEach(async () => {
  await redis.cli('FLUSHALL')
})
afterEach(() => endRevocations())
afterAll(() => endRedisProcesses())

const url = (port = redis.port): string => `redis://127.0.0.1:${port}`

const namesIn = ({ store }: TestRevocations, tenantId = 't1'): string[] =>
  [...store.open(tenantId, ignoring)].map(({ jti, user }) => jti ?? user ?? 'tenant').toSorted()

async function expectHeld(gateway: TestRevocations, names: string[]): Promise<void> {
  await expect.poll(() => namesIn(gateway), { timeout: deadlineMs }).toEqual(names.toSorted())
}

revocationContract('RedisRevocations', async () => openTestRevocations(url()))

describe('two gateways', () => {
  test('what one acknowledges, the other has without being asked, and what it ends, the other forgets', async () => {
    const [here, there] = [await openTestRevocations(url()), await openTestRevocations(url())]
    await here.store.add('t1', { user: 'ann' })
    await here.store.add('t1', { jti: 'x', expiresAtMs: Date.now() + 60_000 })
    await expectHeld(there, ['ann', 'x'])
    await there.store.remove('t1', 'user:ann')
    await expectHeld(here, ['x'])
  })

  test('without notifications, the poll brings them', async () => {
    const [here, there] = [await openTestRevocations(url()), await openTestRevocations(url())]
    await there.link.current?.client.unsubscribe()
    await here.store.add('t1', { user: 'ann' })
    await expectHeld(there, ['ann'])
  })

  test('a gateway that starts later reads all pages of all tenants', async () => {
    const here = await openTestRevocations(url())
    const count = 2_500
    for (let start = 0; start < count; start += 100)
      await Promise.all(
        Array.from({ length: 100 }, (_, index) => here.store.add('t1', { jti: `id ${start + index}` })),
      )
    for (let tenant = 2; tenant < 30; tenant += 1) await here.store.add(`t${tenant}`, { user: 'ann' })
    const there = await openTestRevocations(url())
    expect(there.store.size).toBe(count + 28)
    expect(namesIn(there)).toEqual(namesIn(here))
  })
})

describe('a gateway that is cut from Redis', () => {
  async function cutGateway(): Promise<{ here: TestRevocations; cut: TestRevocations; proxy: RedisProxy }> {
    const proxy = await new RedisProxy(redis.port).start()
    const here = await openTestRevocations(url())
    const cut = await openTestRevocations(url(proxy.port))
    await here.store.add('t1', { user: 'known' })
    await expectHeld(cut, ['known'])
    proxy.set({ refuse: true })
    proxy.cut()
    await until('the loss of the link', () => cut.link.current === undefined)
    return { here, cut, proxy }
  }

  test('admits by what it knows, keeps that, and makes new clients wait until it has read the rest', async () => {
    const { cut, here, proxy } = await cutGateway()
    expect(cut.store.current()).toBeUndefined()
    await here.store.add('t1', { user: 'missed' })
    expect(namesIn(cut)).toEqual(['known'])
    await expect(cut.store.add('t1', { user: 'refused' })).rejects.toMatchObject({
      code: 'BROKER_UNAVAILABLE',
    })
    const opening = new Promise<string[]>((resolve, reject) => {
      cut.link.onOpen(() => {
        const waiting = cut.store.current()
        if (!waiting) return reject(new Error('new clients do not wait'))
        waiting.then(() => resolve(namesIn(cut)), reject)
      })
    })
    proxy.heal()
    expect(await opening).toEqual(['known', 'missed'])
    expect(cut.store.current()).toBeUndefined()
    await proxy.close()
  })

  test('reads everything again when the log does not reach back', async () => {
    const { cut, here, proxy } = await cutGateway()
    await here.store.remove('t1', 'user:known')
    await here.store.add('t1', { user: 'missed' })
    // As if thousands of changes had followed.
    await redis.cli('XTRIM', 'parley:{revocations}:test:log', 'MAXLEN', '1')
    proxy.heal()
    await expectHeld(cut, ['missed'])
    await proxy.close()
  })

  test('reads everything again when another master has another log', async () => {
    const { cut, here, proxy } = await cutGateway()
    const other = await startRedis()
    const there = await openTestRevocations(url(other.port))
    await there.store.add('t1', { user: 'on another master' })
    // A replica that became the master has the id of its store.
    const tenants = 'parley:{revocations}:test:tenants'
    await other.cli('HSET', tenants, '', await redis.cli('HGET', tenants, ''))
    expect(namesIn(here)).toEqual(['known'])
    proxy.retarget(other.port)
    proxy.heal()
    await expectHeld(cut, ['on another master'])
    await there.close()
    await proxy.close()
  })
})

test('a Redis that has lost its data gets the revocations back from the gateways', async () => {
  const [here, there] = [await openTestRevocations(url()), await openTestRevocations(url())]
  await here.store.add('t1', { user: 'ann' })
  await here.store.add('t2', { jti: 'x', expiresAtMs: Date.now() + 600_000 })
  await expectHeld(there, ['ann'])
  await redis.cli('FLUSHALL')
  await until(
    'the restored revocations',
    async () => (await here.store.list('t2', { after: '', limit: 9 })).total === 1,
  )
  const late = await openTestRevocations(url())
  await expectHeld(late, ['ann'])
  for (const gateway of [here, there, late]) {
    expect(namesIn(gateway)).toEqual(['ann'])
    expect(namesIn(gateway, 't2')).toEqual(['x'])
  }
})

test('a Redis that has lost its data gets them back although others wrote to it before', async () => {
  const proxy = await new RedisProxy(redis.port).start()
  const here = await openTestRevocations(url(proxy.port))
  await here.store.add('t1', { user: 'ann' })
  // The gateway has read the log, and with it the id of the store.
  const other = await openTestRevocations(url())
  await other.store.add('t1', { user: 'cid' })
  await expectHeld(here, ['ann', 'cid'])
  await other.close()
  proxy.set({ refuse: true })
  proxy.cut()
  await until('the loss of the link', () => here.link.current === undefined)
  await redis.cli('FLUSHALL')
  const there = await openTestRevocations(url())
  await there.store.add('t1', { user: 'bob' })
  proxy.heal()
  for (const gateway of [here, there]) await expectHeld(gateway, ['ann', 'bob', 'cid'])
  await there.store.remove('t1', 'user:ann')
  await expectHeld(here, ['bob', 'cid'])
  await proxy.close()
})

test('the bound of a tenant holds in Redis, and one of the whole tenant is always possible', async () => {
  const { store } = await openTestRevocations(url())
  await redis.cli(
    'EVAL',
    "for i = 1, 100000 do redis.call('ZADD', KEYS[1], 0, 'jti:' .. i .. '\\n- -') end",
    '1',
    'parley:{revocations}:t1:revoked:all',
  )
  await expect(store.add('t1', { jti: 'one more' })).rejects.toMatchObject({ code: 'QUOTA_EXCEEDED' })
  await store.add('t1', { jti: '77', expiresAtMs: Date.now() + 1_000 })
  await store.add('t1', { issuedBeforeMs: Date.now() })
  await store.add('t2', { jti: 'of another tenant' })
})

describe('a change that waits for its confirmation', () => {
  /** Calls `change` on the gateway, and runs `meanwhile` when Redis has it and the gateway not yet. */
  async function whileUnconfirmed(
    { link }: TestRevocations,
    { change, meanwhile }: { change: () => Promise<unknown>; meanwhile: () => Promise<void> },
  ): Promise<void> {
    const live = link.current
    if (!live) throw new Error('no connection')
    let written = (): void => {}
    const isWritten = new Promise<void>((resolve) => (written = resolve))
    let confirm = (): void => {}
    const confirmed = new Promise<boolean>((resolve) => (confirm = () => resolve(true)))
    vi.spyOn(live, 'confirmMaster').mockImplementationOnce(() => {
      written()
      return confirmed
    })
    const done = change()
    await isWritten
    await meanwhile()
    confirm()
    await done
  }

  test('does not undo what another gateway changed meanwhile', async () => {
    const [here, there] = [await openTestRevocations(url()), await openTestRevocations(url())]
    await whileUnconfirmed(here, {
      change: async () => here.store.add('t1', { user: 'ann' }),
      async meanwhile() {
        await expectHeld(there, ['ann'])
        await there.store.remove('t1', 'user:ann')
        await there.store.add('t1', { user: 'bob' })
        await expectHeld(here, ['bob'])
      },
    })
    expect(namesIn(here)).toEqual(['bob'])
    await whileUnconfirmed(here, {
      change: async () => here.store.remove('t1', 'user:bob'),
      async meanwhile() {
        await expectHeld(there, [])
        await there.store.add('t1', { user: 'bob' })
        await there.store.add('t1', { user: 'cid' })
        await expectHeld(here, ['bob', 'cid'])
      },
    })
    expect(namesIn(here)).toEqual(['bob', 'cid'])
  })

  test('is in force once it is acknowledged, although the log is not read yet', async () => {
    const { store } = await openTestRevocations(url(), { pollMs: 3_600_000 })
    const set = store.open('t1', ignoring)
    await store.add('t1', { user: 'ann' })
    expect([...set]).toEqual([{ user: 'ann' }])
    await store.remove('t1', 'user:ann')
    expect(set.size).toBe(0)
  })
})

test('a revocation that another gateway has ended is not prolonged', async () => {
  const [here, there] = [await openTestRevocations(url()), await openTestRevocations(url())]
  const soonMs = Date.now() + 60_000
  await here.store.add('t1', { jti: 'x', expiresAtMs: soonMs })
  await here.store.prolong('t1', { jti: 'x', expiresAtMs: soonMs + 1_000 })
  await expect
    .poll(() => [...there.store.open('t1', ignoring)], { timeout: deadlineMs })
    .toEqual([{ jti: 'x', expiresAtMs: soonMs + 1_000 }])
  await there.store.remove('t1', 'jti:x')
  await here.store.prolong('t1', { jti: 'x', expiresAtMs: soonMs + 2_000 })
  expect(namesIn(here)).toEqual([])
  expect((await here.store.list('t1', { after: '', limit: 1 })).total).toBe(0)
})

test('an unexpected reply does not end the gateway, which tries again', async () => {
  const [here, there] = [await openTestRevocations(url()), await openTestRevocations(url())]
  const live = here.link.current
  if (!live) throw new Error('no connection')
  const run = vi.spyOn(live, 'run').mockResolvedValue([['of another version']])
  await expect(here.store.add('t1', { user: 'ann' })).rejects.toMatchObject({ code: 'BROKER_UNAVAILABLE' })
  await expect(here.store.list('t1', { after: '', limit: 1 })).rejects.toMatchObject({
    code: 'BROKER_UNAVAILABLE',
  })
  await there.store.add('t1', { user: 'bob' })
  const reads = run.mock.calls.length
  await until('another read', () => run.mock.calls.length > reads)
  run.mockRestore()
  await expectHeld(here, ['bob'])
})

test('a log that was deleted without the revocations begins anew', async () => {
  const [here, there] = [await openTestRevocations(url()), await openTestRevocations(url())]
  await here.store.add('t1', { user: 'ann' })
  await expectHeld(there, ['ann'])
  await redis.cli('DEL', 'parley:{revocations}:test:log')
  await until('a new log', async () => (await redis.cli('XLEN', 'parley:{revocations}:test:log')) === '1')
  await here.store.add('t1', { user: 'bob' })
  await expectHeld(there, ['ann', 'bob'])
})

test('a change of an unknown kind in the log changes nothing', async () => {
  const [here, there] = [await openTestRevocations(url()), await openTestRevocations(url())]
  await here.store.add('t1', { user: 'ann', issuedBeforeMs: 1_000 })
  await expectHeld(there, ['ann'])
  for (const entry of ['later-kind:ann', 'constructor:ann', '__proto__:ann', 'ann'])
    await redis.cli(
      ...['XADD', 'parley:{revocations}:test:log', '*', 'nonce', 'n', 'tenant', 't1', 'entry', entry],
    )
  await here.store.add('t1', { user: 'bob' })
  await expectHeld(there, ['ann', 'bob'])
})

test('an entry of an unknown kind is left alone, and the others are read', async () => {
  await redis.cli('ZADD', 'parley:{revocations}:t1:revoked:all', '0', 'later-kind:a')
  await redis.cli('HSET', 'parley:{revocations}:test:tenants', 't1', '1')
  const here = await openTestRevocations(url())
  await here.store.add('t1', { user: 'ann' })
  const late = await openTestRevocations(url())
  await expectHeld(late, ['ann'])
})

test('a revocation that too few replicas confirm is not acknowledged', async () => {
  const { store } = await openTestRevocations(url(), { waitReplicas: 1 })
  await expect(store.add('t1', { user: 'ann' })).rejects.toMatchObject({ code: 'NOT_REPLICATED' })
})

describe('a sweep', () => {
  test('removes what has expired for two minutes, here and in Redis, and keeps the rest', async () => {
    const { store } = await openTestRevocations(url())
    const nowMs = Date.now()
    // Expired for long by every clock.
    await store.add('t1', { jti: 'old', expiresAtMs: nowMs - 600_000 })
    await store.add('t1', { jti: 'young', expiresAtMs: nowMs - 30_000 })
    await store.add('t1', { user: 'ann' })
    store.open('t1', ignoring)
    await store.sweep()
    const { revocations, total } = await store.list('t1', { after: '', limit: 10 })
    expect([total, revocations.map(({ jti, user }) => jti ?? user)]).toEqual([2, ['young', 'ann']])
    expect(store.size).toBe(2)
  })

  test('forgets nothing that Redis would keep because it is away', async () => {
    const proxy = await new RedisProxy(redis.port).start()
    const { link, store } = await openTestRevocations(url(proxy.port))
    await store.add('t1', { jti: 'old', expiresAtMs: Date.now() - 600_000 })
    proxy.set({ refuse: true })
    proxy.cut()
    await until('the loss of the link', () => link.current === undefined)
    await store.sweep()
    proxy.heal()
    await until('a new link', () => link.current !== undefined)
    await store.sweep()
    expect((await store.list('t1', { after: '', limit: 1 })).total).toBe(0)
    await proxy.close()
  })

  test('a clock that is far ahead removes nothing from Redis', async () => {
    const clock = { ...systemClock, epochMs: () => Date.now() + 3_600_000 }
    const { store } = await openTestRevocations(url(), { clock })
    await store.add('t1', { jti: 'valid', expiresAtMs: Date.now() + 60_000 })
    await store.sweep()
    expect((await store.list('t1', { after: '', limit: 10 })).total).toBe(1)
  })

  test('forgets a tenant that is not served and whose revocations were purged', async () => {
    const { store } = await openTestRevocations(url())
    await store.add('gone', { user: 'ann' })
    await store.add('t1', { user: 'ann' })
    await redis.cli('DEL', 'parley:{revocations}:gone:revoked:all')
    await store.sweep()
    expect(store.size).toBe(1)
    const tenants = (await redis.cli('HKEYS', 'parley:{revocations}:test:tenants')).split('\n')
    expect(tenants.filter((tenant) => tenant !== '')).toEqual(['t1'])
  })
})

test('the set of a tenant stays the same object', async () => {
  const { store } = await openTestRevocations(url())
  const set = store.open('t1', ignoring)
  expect(set).toBeInstanceOf(RevocationSet)
  await store.add('t1', { user: 'ann' })
  expect(store.open('t1', ignoring)).toBe(set)
})
