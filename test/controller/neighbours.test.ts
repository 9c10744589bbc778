// Changes that take rights away are enforced while another namespace, or many objects of the same namespace,
// keep the controller busy. The controller may make so few calls to the API server that the flood lasts.
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { kubeStartMsMax } from '../support/kube-apiserver.js'
import { apiVersion, chatCredential, chatTenant, namespace } from '../support/kube-parley.js'
import {
  conditionOf,
  demoTenant,
  endEnvironments,
  generated,
  ready,
  TestEnvironment,
} from '../support/reconciled.js'
import { until } from '../support/redis-processes.js'
import { parseStamp } from '../../src/catalog/redis/record.js'
import { catalogKeys } from '../../src/redis/keys.js'

/** Each needs at least three calls to the API server: two for its Secret, one for its status. */
const floodSize = 200
const apiCalls = { perSecond: 20, burst: 20 }
const deny = { effect: 'Deny', operations: ['Publish'], subjects: [{ users: ['eve'] }] }

let environment: TestEnvironment

const floodName = (index: number) => `noisy-${String(index).padStart(3, '0')}`
const refOf = (name: string, ns = 'demo', kind = 'ChatTenant') => ({ apiVersion, kind, namespace: ns, name })

async function catalogSize(): Promise<number> {
  const { client } = await environment.redis()
  return client.hlen(catalogKeys(environment.target.installation).tenants)
}

/**
 * Waits until the catalog shows the change. Returns the number of tenants in the catalog then, which is less
 * than `floodSize` while the flood lasts.
 */
async function sizeWhenEnforced(what: string, holds: () => Promise<boolean>): Promise<number> {
  await until(what, holds, { deadlineMs: 30_000 })
  return catalogSize()
}

const revisionOf = (stamp: string | undefined) => parseStamp(stamp ?? '')?.revision

describe('while one namespace creates many tenants', () => {
  const spec = {
    auth: generated.auth,
    channels: [{ ...generated.channels[0], grants: [...(generated.channels[0]?.grants ?? []), deny] }],
  }

  beforeAll(async () => {
    environment = await TestEnvironment.start()
    const controller = environment.controller()
    const names = ['denied', 'suspended', 'keyed', 'deleted']
    for (const name of names) await environment.readyTenant(name)
    await environment.client.apply(chatCredential({ tenantRef: { name: 'keyed' } }, { ns: 'demo' }))
    const bot = { kind: 'ChatCredential', name: 'bot' }
    await environment.condition('Ready', { status: 'True' }, bot)
    await environment.client.apply(namespace('noisy'))
    await environment.client.apply(chatTenant(generated, { name: 'own', ns: 'noisy' }))
    await environment.condition('Ready', ready, { name: 'own', ns: 'noisy' })
    await controller.stop()

    environment.controller({ apiCalls, workers: 4 })
    const indices = Array.from({ length: floodSize }, (_, index) => index).values()
    const create = async () => {
      for (const index of indices)
        await environment.client.create(chatTenant(generated, { name: floodName(index), ns: 'noisy' }))
    }
    await Promise.all(Array.from({ length: 8 }, create))
  }, kubeStartMsMax)
  afterAll(endEnvironments)

  test('a Deny of another namespace is enforced', async () => {
    await environment.client.apply(demoTenant('denied', spec))
    const size = await sizeWhenEnforced('the Deny', async () => {
      const policy = await environment.policy('denied')
      return policy?.channels[0]?.grants.some(({ effect }) => effect === 'Deny') ?? false
    })
    expect(size).toBeLessThan(floodSize)
  })

  test('a suspension in the same namespace is enforced', async () => {
    await environment.client.patch(refOf('own', 'noisy'), { spec: { suspend: true } })
    const size = await sizeWhenEnforced('the suspension', async () => {
      const policy = await environment.policy('own', 'noisy')
      return policy?.suspended ?? false
    })
    expect(size).toBeLessThan(floodSize)
  })

  test('an API key of a deleted ChatCredential is invalid', async () => {
    await environment.client.delete(refOf('bot', 'demo', 'ChatCredential'))
    const size = await sizeWhenEnforced('no key', async () => {
      const policy = await environment.policy('keyed')
      return policy !== undefined && policy.apiKeys === undefined
    })
    expect(size).toBeLessThan(floodSize)
  })

  test('a generated key is replaced when its Secret is deleted', async () => {
    const before = await environment.policy('suspended')
    await environment.client.delete({
      apiVersion: 'v1',
      kind: 'Secret',
      namespace: 'demo',
      name: 'suspended-credentials',
    })
    const size = await sizeWhenEnforced('another key', async () => {
      const policy = await environment.policy('suspended')
      return policy !== undefined && policy.revision !== before?.revision
    })
    expect(size).toBeLessThan(floodSize)
  })

  test('a deleted tenant leaves the catalog', async () => {
    await environment.client.delete(refOf('deleted'))
    const isGone = async () => (await environment.policy('deleted')) === undefined
    expect(await sizeWhenEnforced('no record', isGone)).toBeLessThan(floodSize)
  })
})

describe('while one namespace takes rights away from many of its own tenants', () => {
  const size = 60

  beforeAll(async () => {
    environment = await TestEnvironment.start()
  }, kubeStartMsMax)
  afterAll(endEnvironments)

  test('a Deny of another namespace is in the catalog after few of them', async () => {
    const all = Array.from({ length: size }, (_, index) => ({ name: floodName(index), ns: 'noisy' }))
    // This namespace and its tenant come last by name and by creation.
    const denied = { name: 'zulu', ns: 'zulu' }
    for (const ns of ['noisy', 'zulu']) await environment.client.apply(namespace(ns))
    const controller = environment.controller()
    for (const place of [...all, denied]) await environment.client.create(chatTenant(generated, place))
    for (const place of [...all, denied]) await environment.condition('Ready', ready, place)
    await controller.stop()
    const { client } = await environment.redis()
    const { stamps } = catalogKeys(environment.target.installation)
    const before = await client.hgetall(stamps)

    for (const { name, ns } of all)
      await environment.client.patch(refOf(name, ns), { spec: { suspend: true } })
    const [rule] = generated.channels
    const channels = [{ ...rule, grants: [...(rule?.grants ?? []), deny] }]
    await environment.client.patch(refOf('zulu', 'zulu'), { spec: { channels } })
    environment.controller()
    const after = await until(
      'all changes in the catalog',
      async () => {
        const read = await client.hgetall(stamps)
        const changed = Object.keys(before).every((key) => revisionOf(read[key]) !== revisionOf(before[key]))
        return changed && read
      },
      { deadlineMs: 60_000 },
    )
    // Stamps begin with the number of the write.
    const order = Object.entries(after).toSorted(([, a], [, b]) => Number.parseInt(a) - Number.parseInt(b))
    const position = order.findIndex(([key]) => key === 'zulu/zulu')
    expect(order).toHaveLength(size + 1)
    expect(position).toBeLessThan(size / 3)
  })
})

describe('with an idle controller', () => {
  beforeAll(async () => {
    environment = await TestEnvironment.start()
    environment.controller()
  }, kubeStartMsMax)
  afterAll(endEnvironments)

  test('the command of docs/controller.md limits the objects of a namespace', async () => {
    const page = await readFile(new URL('../../docs/controller.md', import.meta.url), 'utf8')
    const [, text = ''] = /(kubectl -n team-a create quota[^`]*)```/.exec(page) ?? []
    const [, ...args] = text.replaceAll('\\\n', ' ').trim().split(/\s+/)
    await environment.client.apply(namespace('team-a'))
    await environment.kube.kubectl(args)
    const ref = { apiVersion: 'v1', kind: 'ResourceQuota', namespace: 'team-a', name: 'parley' }
    const { spec } = await environment.client.get(ref)
    expect(spec.hard).toEqual({
      'count/chattenants.parley.chat': '50',
      'count/chatcredentials.parley.chat': '200',
    })
    // This server has no controller that counts.
    const status = { hard: spec.hard, used: { ...spec.hard, 'count/chatcredentials.parley.chat': '0' } }
    await environment.client.patch(ref, { status }, { subresource: 'status' })
    const refused = async () => {
      const tenant = chatTenant(generated, { name: 'more', ns: 'team-a' })
      const error: unknown = await environment.client.create(tenant).catch((reason: unknown) => reason)
      if (!(error instanceof Error)) await environment.client.delete(refOf('more', 'team-a'))
      return error instanceof Error && error.message
    }
    expect(await until('a refused tenant', refused)).toContain('exceeded quota')
  })

  test('a Deny is enforced although the Secret of the tenant cannot be written', async () => {
    await environment.readyTenant('frozen')
    const secret = { apiVersion: 'v1', kind: 'Secret', namespace: 'demo', name: 'frozen-credentials' }
    await environment.client.patch(secret, { immutable: true })
    const [rule] = generated.channels
    const channels = [{ ...rule, grants: [...(rule?.grants ?? []), deny] }]
    // The rotation changes the content of the Secret, which the API server refuses.
    const metadata = { annotations: { 'parley.chat/rotate': 'now' } }
    await environment.client.patch(refOf('frozen'), { metadata, spec: { channels } })
    const object = await environment.condition(
      'CredentialsReady',
      { status: 'False', reason: 'SecretRefused' },
      { name: 'frozen' },
    )
    expect(conditionOf(object, 'Accepted')).toMatchObject({ status: 'True' })
    const policy = await environment.policy('frozen')
    expect(policy?.channels[0]?.grants.map(({ effect }) => effect)).toEqual(['Allow', 'Deny'])
  })

  test('a tenant has at most 256 ChatCredentials, and the next one is accepted when another is deleted', async () => {
    await environment.readyTenant('keyring')
    const metadata = { name: 'shared', namespace: 'demo', labels: { 'parley.chat/secret': 'import' } }
    const stringData = { key: 'a key that a vault made, long enough' }
    await environment.client.apply({ apiVersion: 'v1', kind: 'Secret', metadata, stringData })
    const spec = { tenantRef: { name: 'keyring' }, importSecretRef: { name: 'shared', key: 'key' } }
    const nameOf = (index: number) => `key-${String(index).padStart(3, '0')}`
    const indices = Array.from({ length: 257 }, (_, index) => index).values()
    const create = async () => {
      for (const index of indices)
        await environment.client.create(chatCredential(spec, { name: nameOf(index), ns: 'demo' }))
    }
    await Promise.all(Array.from({ length: 8 }, create))
    const last = await until(
      'a ChatCredential that is one too many',
      async () => {
        const all = await environment.client.list({ apiVersion, kind: 'ChatCredential', namespace: 'demo' })
        const refused = all.filter((one) => conditionOf(one, 'Ready')?.reason === 'TooManyCredentials')
        const accepted = all.filter((one) => conditionOf(one, 'Ready')?.status === 'True')
        return refused.length === 1 && accepted.length === 256 && refused[0]
      },
      { deadlineMs: 60_000 },
    )
    const policy = await environment.policy('keyring')
    expect(policy?.apiKeys).toHaveLength(256)
    const { name } = last.metadata
    await environment.client.delete(refOf(policy?.apiKeys?.[0]?.credential ?? '', 'demo', 'ChatCredential'))
    await environment.condition('Ready', { status: 'True' }, { kind: 'ChatCredential', name })
  })
})
