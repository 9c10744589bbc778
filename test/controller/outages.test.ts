// Changes while no controller runs, and faults of Redis: the next controller detects and repairs the
// differences, and no client is disconnected.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { catalogKeys, epochKey, streamKey } from '../../src/redis/keys.js'
import { endControllers, ShiftedClock } from '../support/controller.js'
import { kubeStartMsMax } from '../support/kube-apiserver.js'
import type { KubeObject } from '../support/kube-client.js'
import { apiVersion, chatCredential } from '../support/kube-parley.js'
import {
  conditionOf,
  demoTenant,
  endEnvironments,
  generated,
  admitted,
  openRules,
  ready,
  TestEnvironment,
} from '../support/reconciled.js'
import { openWriter, tenant as policy } from '../support/redis-catalog.js'
import { until } from '../support/redis-processes.js'

let environment: TestEnvironment

beforeAll(async () => {
  environment = await TestEnvironment.start()
}, kubeStartMsMax)
afterEach(endControllers)
afterAll(endEnvironments)

const refOf = (name: string) => ({ apiVersion, kind: 'ChatTenant', namespace: 'demo', name })

/** Writes keys of the tenant to Redis, as a gateway would. */
async function writeTenantKeys(tenantId: string): Promise<string[]> {
  const { client } = await environment.redis()
  const keys = ['lobby', 'general'].flatMap((channel) => [
    streamKey({ tenantId, channel }),
    epochKey({ tenantId, channel }),
  ])
  for (const key of keys) await client.set(key, 'x')
  return keys
}

async function countExisting(keys: readonly string[]): Promise<number> {
  const { client } = await environment.redis()
  const counts = await Promise.all(keys.map(async (key) => client.exists(key)))
  return counts.reduce((sum, count) => sum + count, 0)
}

describe('while no controller runs', () => {
  test('gateways continue, objects are deleted immediately, and the next controller detects the deletions', async () => {
    const first = environment.controller()
    const [stays, goes] = [await environment.readyTenant('stays'), await environment.readyTenant('goes')]
    await environment.client.apply(chatCredential({ tenantRef: { name: 'goes' } }, { ns: 'demo' }))
    await environment.condition('Ready', { status: 'True' }, { kind: 'ChatCredential', name: 'bot' })
    await first.stop()

    expect(await environment.chatStatus(goes.token, { tenant: 'demo/goes' })).toBe(admitted)
    const ann = await environment.chat(goes.token, 'demo/goes')
    const bob = await environment.chat(stays.token, 'demo/stays')
    await environment.client.delete(refOf('goes'))
    await environment.client.delete({ apiVersion, kind: 'ChatCredential', namespace: 'demo', name: 'bot' })
    // There is no finalizer, so a deletion, including that of a namespace, never waits for a controller.
    expect(await environment.tenant('goes')).toBeUndefined()
    expect(await environment.chatStatus(goes.token, { tenant: 'demo/goes' })).toBe(admitted)

    environment.controller()
    expect(await ann.closed()).toMatchObject({ code: 3503 })
    await environment.untilChatStatus(goes.token, 404, { tenant: 'demo/goes' })
    expect(await environment.chatStatus(stays.token, { tenant: 'demo/stays' })).toBe(admitted)
    await bob.done({ type: 'chat', content: 'still here' })
  })

  test('a name that is reused belongs to the new tenant', async () => {
    const first = environment.controller()
    const before = await environment.readyTenant('renewed')
    const ann = await environment.chat(before.token, 'demo/renewed')
    await first.stop()
    await environment.client.delete(refOf('renewed'))
    await environment.client.apply(demoTenant('renewed'))
    environment.controller()
    expect(await ann.closed()).toMatchObject({ code: 3503 })
    const after = await environment.condition('Ready', ready, { name: 'renewed' })
    expect(after['status'].tenantID).not.toBe(before.object['status'].tenantID)
    await environment.untilChatStatus(before.token, 401, { tenant: 'demo/renewed' })
  })

  test('an invalid edit leaves the last good policy in force, for the next controller too', async () => {
    const first = environment.controller()
    const { token } = await environment.readyTenant('broken')
    await first.stop()
    const ann = await environment.chat(token, 'demo/broken')
    await environment.client.apply(demoTenant('broken', { ...generated, planRef: { name: 'nowhere' } }))
    environment.controller()
    const object = await environment.condition(
      'Accepted',
      { status: 'False', reason: 'PlanNotFound' },
      { name: 'broken' },
    )
    expect(conditionOf(object, 'Programmed')).toMatchObject({ reason: 'LastGoodRevision' })
    await ann.done({ type: 'chat', content: 'still here' })
  })
})

describe('Redis', () => {
  test('that was emptied is filled again, and no client is disconnected', async () => {
    environment.controller()
    const { token } = await environment.readyTenant('flushed')
    await environment.client.apply(demoTenant('bad', { ...generated, planRef: { name: 'nowhere' } }))
    await environment.condition('Accepted', { status: 'False' }, { name: 'bad' })
    const ann = await environment.chat(token, 'demo/flushed')
    const { client } = await environment.redis()
    await client.flushall()
    await until('the record', async () => (await environment.policy('flushed')) !== undefined)
    await ann.done({ type: 'chat', content: 'still here' })
    // Edits still take effect.
    await environment.client.apply(demoTenant('flushed', { ...generated, channels: [] }))
    await environment.condition('Ready', ready, { name: 'flushed' })
    expect(await ann.ask({ type: 'chat', content: 'hello' })).toMatchObject({ code: 'PERMISSION_DENIED' })
  })

  test('that is unreachable delays new tenants, which report it, and does not affect served tenants', async () => {
    environment.controller()
    const { token } = await environment.readyTenant('steady')
    const ann = await environment.chat(token, 'demo/steady')
    environment.redisProcess.stop()
    await environment.client.apply(demoTenant('newcomer'))
    const away = { status: 'False', reason: 'CatalogUnavailable' }
    await environment.condition('Programmed', away, { name: 'newcomer', deadlineMs: 28_000 })
    expect(conditionOf(await environment.tenant('steady'), 'Ready')).toMatchObject({ status: 'True' })
    environment.redisProcess.cont()
    await environment.condition('Ready', ready, { name: 'newcomer' })
    await ann.done({ type: 'chat', content: 'still here' })
    const record = await environment.hget(
      `parley:{catalog}:${environment.target.installation}:remains`,
      String((await environment.tenant('newcomer'))?.metadata['uid']),
    )
    expect(record).toContain('demo/newcomer')
  }, 60_000)

  test('that was unreachable is reported as recovered also when no gateway is live', async () => {
    environment.controller({ installation: 'deserted/parley' })
    environment.redisProcess.stop()
    await environment.client.apply(demoTenant('lonely'))
    const away = { status: 'False', reason: 'CatalogUnavailable' }
    await environment.condition('Programmed', away, { name: 'lonely', deadlineMs: 60_000 })
    environment.redisProcess.cont()
    const alone = { status: 'False', reason: 'NoGateways' }
    const object = await environment.condition('Programmed', alone, { name: 'lonely', deadlineMs: 60_000 })
    expect(conditionOf(object, 'Accepted')).toMatchObject({ status: 'True' })
    await environment.client.delete(refOf('lonely'))
  }, 130_000)

  test('with the catalog of another cluster under the same name is not changed', async () => {
    const installation = 'shared/parley'
    const place = { url: environment.target.redis, installation }
    const { writer } = await openWriter(place, { owner: 'another-cluster' })
    await writer.snapshot([policy('theirs')])
    // The other cluster must purge this data.
    const theirs = await writeTenantKeys('id-of-theirs')
    const { client } = await environment.redis()
    const record = JSON.stringify({ tenant: 'demo/gone', purgeAfterMs: 0, goneAtMs: 1 })
    await client.hset(catalogKeys(installation).retention, 'id-of-theirs', record)
    await environment.client.apply(demoTenant('contender'))
    const controller = environment.controller({ installation })
    const object = await environment.condition(
      'Conflict',
      { status: 'True', reason: 'CatalogNotOurs' },
      { name: 'contender' },
    )
    expect(conditionOf(object, 'Conflict')?.message).toContain('another-cluster')
    expect(conditionOf(object, 'Ready')).toMatchObject({ status: 'False', reason: 'CatalogNotOurs' })
    expect(controller.controller.unready().join()).toContain('another-cluster')
    await until('an Event', async () =>
      (await environment.events('contender')).some(
        ({ reason, type }) => reason === 'CatalogNotOurs' && type === 'Warning',
      ),
    )
    expect(await countExisting(theirs)).toBe(theirs.length)
    // The other cluster's writer is not affected.
    expect(await writer.put(policy('theirs', 2))).toMatchObject({ kind: 'written' })
    expect(await writer.confirm()).toBe('confirmed')
    await controller.stop()

    // The operator declares that the other cluster no longer exists.
    environment.controller({ installation, takesOver: 'another-cluster' })
    await environment.condition(
      'Programmed',
      { status: 'False', reason: 'NoGateways' },
      { name: 'contender' },
    )
    expect(await writer.put(policy('theirs', 3))).toMatchObject({ kind: 'foreign' })
    await environment.client.delete(refOf('contender'))
  })
})

describe('the data of a deleted tenant', () => {
  test('is purged after its grace period, and no other data is purged', async () => {
    environment.controller()
    const { object: goes } = await environment.readyTenant('purged', { ...generated, purgeAfter: '0s' })
    const { object: waits } = await environment.readyTenant('waits', { ...generated, purgeAfter: '24h' })
    const { object: retained } = await environment.readyTenant('retained', {
      ...generated,
      deletionPolicy: 'Retain',
    })
    const { object: lives } = await environment.readyTenant('lives', { ...generated, purgeAfter: '0s' })
    const of = (object: KubeObject) => writeTenantKeys(String(object['status'].tenantID))
    const keys = {
      goes: await of(goes),
      others: [...(await of(waits)), ...(await of(retained)), ...(await of(lives))],
    }
    for (const name of ['purged', 'waits', 'retained']) await environment.client.delete(refOf(name))
    await until('the purge', async () => (await countExisting(keys.goes)) === 0, { deadlineMs: 25_000 })
    expect(await countExisting(keys.others)).toBe(keys.others.length)
    const id = String(waits['status'].tenantID)
    const record = await environment.hget(`parley:{catalog}:${environment.target.installation}:remains`, id)
    expect(JSON.parse(record ?? '{}')).toMatchObject({ tenant: 'demo/waits', purgeAfterMs: 86_400_000 })
  })

  test('follows the last deletionPolicy, also of a spec that was not accepted', async () => {
    environment.controller()
    const { object } = await environment.readyTenant('regretted', { ...generated, purgeAfter: '0s' })
    const keys = await writeTenantKeys(String(object['status'].tenantID))
    const refused = { ...generated, deletionPolicy: 'Retain', planRef: { name: 'nowhere' } }
    await environment.client.apply(demoTenant('regretted', refused))
    await environment.condition('Accepted', { status: 'False' }, { name: 'regretted' })
    await environment.client.delete(refOf('regretted'))
    const { retention: remains } = catalogKeys(environment.target.installation)
    const id = String(object['status'].tenantID)
    await until(
      'the removal of the retention record',
      async () => (await environment.hget(remains, id)) === null,
    )
    expect(await countExisting(keys)).toBe(keys.length)
  })

  test('is purged also when no controller saw the deletion', async () => {
    const first = environment.controller()
    const { object } = await environment.readyTenant('unseen', { ...generated, purgeAfter: '0s' })
    const keys = await writeTenantKeys(String(object['status'].tenantID))
    await first.stop()
    await environment.client.delete(refOf('unseen'))
    environment.controller()
    await until('the purge', async () => (await countExisting(keys)) === 0, { deadlineMs: 25_000 })
    expect(await countExisting(keys)).toBe(0)
  })
})

describe('a generated key', () => {
  const rotating = { ...generated, credentials: { rotation: { interval: '2h', overlap: '30m' } } }
  const hourMs = 3_600_000

  test('is replaced at its maximum age, and both keys are valid until the overlap ends', async () => {
    const first = environment.controller()
    const { object, token } = await environment.readyTenant('rotated', rotating)
    const [firstId] = object['status'].credentials.activeKeyIDs
    expect(Date.parse(object['status'].credentials.nextRotation)).toBeGreaterThan(Date.now() + hourMs)

    await first.stop()
    const second = environment.controller({ clock: new ShiftedClock(2 * hourMs) })
    await until('two keys', async () => {
      const now = await environment.tenant('rotated')
      return now?.['status'].credentials.activeKeyIDs.length === 2
    })
    await environment.condition('Ready', ready, { name: 'rotated' })
    const next = await environment.token({ secret: 'rotated-credentials' })
    expect(next).not.toBe(token)
    const statuses = await Promise.all(
      [token, next].map((each) => environment.chatStatus(each, { tenant: 'demo/rotated' })),
    )
    expect(statuses).toEqual([admitted, admitted])
    const during = await environment.tenant('rotated')
    expect(during?.['status'].credentials.activeKeyIDs[1]).toBe(firstId)

    await second.stop()
    environment.controller({ clock: new ShiftedClock(2.5 * hourMs + 60_000) })
    await environment.untilChatStatus(token, 401, { tenant: 'demo/rotated' })
    expect(await environment.chatStatus(next, { tenant: 'demo/rotated' })).toBe(admitted)
  })

  test('of a tenant that is not accepted is not rotated, while its API keys are', async () => {
    const first = environment.controller()
    const { token } = await environment.readyTenant('withheld', rotating)
    const rotation = { interval: '2h', overlap: '30m' }
    const of = { kind: 'ChatCredential', name: 'withheld' }
    await environment.client.apply(
      chatCredential({ tenantRef: { name: 'withheld' }, rotation }, { name: 'withheld', ns: 'demo' }),
    )
    await environment.condition('Ready', { status: 'True' }, of)
    const keyOf = () => environment.secretText('withheld-credentials', 'backend')
    const apiKeysOf = async () => ((await environment.policy('withheld'))?.apiKeys ?? []).map(({ id }) => id)
    const before = await keyOf()
    const [apiKey] = await apiKeysOf()
    await first.stop()

    await environment.client.apply(
      demoTenant('withheld', { ...rotating, quota: { connections: { max: 5_000 } } }),
    )
    const second = environment.controller({ clock: new ShiftedClock(2 * hourMs) })
    await environment.condition('Accepted', { status: 'False' }, { name: 'withheld' })
    // When these are ready, all keys that were queued before them have been reconciled.
    await environment.readyTenant('bystander')
    await environment.touch('withheld')
    await environment.readyTenant('another-bystander')
    expect(await keyOf()).toBe(before)
    expect(await environment.chatStatus(token, { tenant: 'demo/withheld' })).toBe(admitted)
    // The new key is first, followed by the key whose overlap has begun.
    await until('another API key', async () => {
      const [now, previous] = await apiKeysOf()
      return now !== apiKey && previous === apiKey
    })

    await environment.client.apply(demoTenant('withheld', rotating))
    await until('another key', async () => (await keyOf()) !== before)
    await second.stop()
  })

  test('of a ChatCredential is known to a new leader immediately, which does not rewrite the status', async () => {
    const first = environment.controller()
    await environment.readyTenant('led')
    await environment.client.apply(
      chatCredential({ tenantRef: { name: 'led' } }, { name: 'led', ns: 'demo' }),
    )
    const of = { kind: 'ChatCredential', name: 'led' }
    const before = await environment.condition('Ready', { status: 'True' }, of)
    await first.stop()
    environment.controller()
    await environment.readyTenant('led-later')
    const after = await environment.client.get({
      apiVersion,
      kind: 'ChatCredential',
      namespace: 'demo',
      name: 'led',
    })
    expect(after.metadata['resourceVersion']).toBe(before.metadata['resourceVersion'])
  })

  test('is created once when two tenants name the same Secret', async () => {
    const pairs = [1, 2, 3, 4, 5]
    for (const pair of pairs)
      for (const half of ['a', 'b'])
        await environment.client.apply(
          demoTenant(`twin-${pair}${half}`, { ...generated, credentials: { secretName: `twins-${pair}` } }),
        )
    environment.controller()
    const generationCounts = await Promise.all(
      pairs.map(async (pair) => {
        const names = [`twin-${pair}a`, `twin-${pair}b`]
        await until('a verdict for both', async () => {
          const found = await Promise.all(names.map((name) => environment.tenant(name)))
          const reasons = new Set(found.map((object) => conditionOf(object, 'CredentialsReady')?.reason))
          return reasons.has('CredentialsReady') && reasons.has('SecretNotOurs')
        })
        const generations = async () => {
          const events = await Promise.all(names.map((name) => environment.events(name)))
          return events.flat().filter(({ reason }) => reason === 'KeysGenerated').length
        }
        // Events are written asynchronously, and may come after the conditions.
        await until('an Event', async () => (await generations()) > 0)
        return generations()
      }),
    )
    expect(generationCounts).toEqual(pairs.map(() => 1))
  })

  test('is replaced immediately when the annotation requests it', async () => {
    environment.controller()
    const { token } = await environment.readyTenant('asked')
    await environment.client.patch(refOf('asked'), {
      metadata: { annotations: { 'parley.chat/rotate': 'now' } },
    })
    await until('two keys', async () => {
      const now = await environment.tenant('asked')
      return now?.['status'].credentials.activeKeyIDs.length === 2
    })
    await environment.untilChatStatus(await environment.token({ secret: 'asked-credentials' }), admitted, {
      tenant: 'demo/asked',
    })
    expect(await environment.chatStatus(token, { tenant: 'demo/asked' })).toBe(admitted)
    await until('an Event', async () =>
      (await environment.events('asked')).some(({ reason }) => reason === 'KeysRotated'),
    )
  })

  test('is kept by the next controller', async () => {
    const first = environment.controller()
    const { token } = await environment.readyTenant('kept')
    await first.stop()
    const { metadata } = (await environment.secret('kept-credentials')) as KubeObject
    environment.controller()
    await environment.client.apply(
      demoTenant('kept', {
        ...generated,
        channels: [...openRules, { ...openRules[0], name: 'two', match: { type: 'Literal', value: 'two' } }],
      }),
    )
    await environment.condition('Ready', ready, { name: 'kept' })
    expect((await environment.secret('kept-credentials'))?.metadata['resourceVersion']).toBe(
      metadata['resourceVersion'],
    )
    expect(await environment.chatStatus(token, { tenant: 'demo/kept' })).toBe(admitted)
  })
})
