// From `kubectl apply` to a client that is accepted or refused, with a real API server, a real Redis, real
// gateways and a controller.
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import type { TestController } from '../support/controller.js'
import { kubeStartMsMax } from '../support/kube-apiserver.js'
import type { KubeObject } from '../support/kube-client.js'
import { apiVersion, chatCredential, chatPlan, chatTenant, namespace } from '../support/kube-parley.js'
import {
  conditionOf,
  demoTenant,
  endEnvironments,
  generated,
  admitted,
  openRules,
  ready,
  signToken,
  TestEnvironment,
} from '../support/reconciled.js'
import { until } from '../support/redis-processes.js'

let environment: TestEnvironment

beforeAll(async () => {
  environment = await TestEnvironment.start({ gateways: 2 })
  controller = environment.controller()
}, kubeStartMsMax)
afterAll(endEnvironments)

let controller: TestController

test('an applied tenant is programmed everywhere and accepts tokens of its generated key', async () => {
  await environment.client.apply(demoTenant('acme'))
  const object = await environment.condition('Ready', ready)
  expect(object['status']).toMatchObject({
    observedGeneration: 1,
    tenantID: object.metadata['uid'],
    revision: expect.any(String),
    dataplane: { gateways: 2, synced: 2, lastProgrammedTime: expect.any(String) },
    effective: { plan: 'free', channelRules: 1, limits: { connections: { max: 1000 } } },
    binding: { name: 'acme-credentials' },
    endpoints: [
      { type: 'Chat', url: 'wss://chat.example.com/demo/acme/ws' },
      { type: 'Centrifuge', url: 'wss://chat.example.com/demo/acme/connection/websocket' },
    ],
  })
  const token = await environment.token()
  expect(await environment.chatStatus(token)).toBe(admitted)
  expect(await environment.chatStatus(await signToken('some other secret that is long enough to sign'))).toBe(
    401,
  )
})

describe('an edit', () => {
  test('that narrows a rule refuses the operation, and the connection stays open', async () => {
    const { token } = await environment.readyTenant('edited')
    const ann = await environment.chat(token, 'demo/edited')
    await ann.done({ type: 'chat', content: 'hello' })
    const [rule] = openRules
    const grants = [{ operations: ['Subscribe'], subjects: [{ authenticated: true }] }]
    await environment.client.apply(demoTenant('edited', { ...generated, channels: [{ ...rule, grants }] }))
    await environment.condition('Ready', ready, { name: 'edited' })
    expect(await ann.ask({ type: 'chat', content: 'hello' })).toMatchObject({ code: 'PERMISSION_DENIED' })
  })

  test('that suspends the tenant closes its connections, and rollout tools do not wait', async () => {
    const { token } = await environment.readyTenant('sleeper')
    const ann = await environment.chat(token, 'demo/sleeper')
    await environment.client.apply(demoTenant('sleeper', { ...generated, suspend: true }))
    const object = await environment.condition(
      'Ready',
      { status: 'True', reason: 'Suspended' },
      { name: 'sleeper' },
    )
    expect(conditionOf(object, 'Stalled')).toBeUndefined()
    expect(conditionOf(object, 'Reconciling')).toBeUndefined()
    await ann.closed()
    await environment.untilChatStatus(token, 403, { tenant: 'demo/sleeper' })
    await environment.client.apply(demoTenant('sleeper'))
    await environment.condition('Ready', ready, { name: 'sleeper' })
    await environment.untilChatStatus(token, admitted, { tenant: 'demo/sleeper' })
  })

  test('that revokes a user or older tokens is Programmed when every gateway refuses them', async () => {
    const { token } = await environment.readyTenant('revoking')
    const tenant = 'demo/revoking'
    const ann = await environment.chat(token, tenant)
    await environment.client.apply(
      demoTenant('revoking', { ...generated, tokensIssuedBefore: '2100-01-01T00:00:00Z' }),
    )
    await environment.condition('Programmed', { status: 'True' }, { name: 'revoking' })
    expect((await ann.closed()).code).toBe(4001)
    expect(await environment.chatStatus(token, { tenant })).toBe(401)
    await environment.client.apply(demoTenant('revoking'))
    await environment.untilChatStatus(token, admitted, { tenant })
    const [, payload = ''] = token.split('.')
    const { sub } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { sub: string }
    await environment.client.apply(demoTenant('revoking', { ...generated, revocations: [{ user: sub }] }))
    await environment.condition('Programmed', { status: 'True' }, { name: 'revoking' })
    expect(await environment.chatStatus(token, { tenant })).toBe(401)
  })

  test('that is invalid affects no client, is reported, and can be corrected', async () => {
    const { token } = await environment.readyTenant('invalid-edit')
    const ann = await environment.chat(token, 'demo/invalid-edit')
    const before = await environment.tenant('invalid-edit')
    await environment.client.apply(
      demoTenant('invalid-edit', { ...generated, quota: { connections: { max: 5000 } } }),
    )
    const object = await environment.condition(
      'Accepted',
      { status: 'False', reason: 'QuotaAbovePlan' },
      { name: 'invalid-edit' },
    )
    expect(conditionOf(object, 'Accepted')?.message).toContain('spec.quota.connections.max')
    expect(conditionOf(object, 'Ready')).toMatchObject({ status: 'False', reason: 'QuotaAbovePlan' })
    expect(conditionOf(object, 'Stalled')).toMatchObject({ status: 'True', reason: 'QuotaAbovePlan' })
    expect(conditionOf(object, 'Programmed')).toMatchObject({ status: 'False', reason: 'LastGoodRevision' })
    expect(object['status'].revision).toBe(before?.['status'].revision)
    await until('an Event', async () =>
      (await environment.events('invalid-edit')).some(
        ({ reason, type }) => reason === 'QuotaAbovePlan' && type === 'Warning',
      ),
    )
    await ann.done({ type: 'chat', content: 'still here' })
    expect(await environment.chatStatus(token, { tenant: 'demo/invalid-edit' })).toBe(admitted)

    await environment.client.apply(demoTenant('invalid-edit'))
    await environment.condition('Ready', ready, { name: 'invalid-edit' })
  })

  test('of a plan reaches its tenants', async () => {
    await environment.client.apply(chatPlan({ limits: { connections: { max: 500 } } }, 'silver'))
    await environment.client.apply(demoTenant('customer', { ...generated, planRef: { name: 'silver' } }))
    await environment.condition('Ready', ready, { name: 'customer' })
    await environment.client.apply(chatPlan({ limits: { connections: { max: 300 } } }, 'silver'))
    await until('the lower limit', async () => {
      const object = await environment.tenant('customer')
      return object?.['status'].effective.limits.connections.max === 300
    })
    const allocated = await until('the allocation of the plan', async () => {
      const plan = await environment.client.get({ apiVersion, kind: 'ChatPlan', name: 'silver' })
      return plan['status']?.allocated?.connections === 300 && plan['status']
    })
    expect(allocated).toMatchObject({ tenants: 1, allocated: { connections: 300 } })
  })

  test('of status by another client is undone', async () => {
    const { object } = await environment.readyTenant('tampered')
    const ref = { apiVersion, kind: 'ChatTenant', namespace: 'demo', name: 'tampered' }
    await environment.client.patch(ref, { status: { revision: 'forged' } }, { subresource: 'status' })
    await until('the real revision', async () => {
      const now = await environment.tenant('tampered')
      return now?.['status'].revision !== 'forged'
    })
    const after = await environment.condition('Ready', ready, { name: 'tampered' })
    expect(after['status'].revision).toBe(object['status'].revision)
  })
})

test('a tenant waits for its plan, and for a key that it refers to', async () => {
  const auth = [{ name: 'own', type: 'SharedKey', keyRef: { name: 'own-key', key: 'hmac' } }]
  await environment.client.apply(
    demoTenant('early', { planRef: { name: 'later' }, auth, channels: openRules }),
  )
  const early = { name: 'early' }
  const refused = await environment.condition('Accepted', { status: 'False', reason: 'PlanNotFound' }, early)
  expect(conditionOf(refused, 'Programmed')).toMatchObject({ reason: 'NeverAccepted' })
  await environment.client.apply(chatPlan({}, 'later'))
  await environment.condition('Accepted', { status: 'False', reason: 'KeyNotFound' }, early)
  const hmac = 'a key of the tenant’s own with enough bytes'
  await environment.client.apply({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'own-key', namespace: 'demo' },
    stringData: { hmac },
  })
  await environment.condition('Ready', ready, early)
  expect(await environment.chatStatus(await signToken(hmac), { tenant: 'demo/early' })).toBe(admitted)
})

test('a plan that does not allow the namespace is refused until the namespace is labelled', async () => {
  const selector = { matchLabels: { tier: 'gold' } }
  await environment.client.apply(chatPlan({ allowedNamespaces: { from: 'Selector', selector } }, 'gold'))
  await environment.client.apply(namespace('team'))
  await environment.client.apply(
    chatTenant({ ...generated, planRef: { name: 'gold' } }, { name: 'x', ns: 'team' }),
  )
  await environment.condition(
    'Accepted',
    { status: 'False', reason: 'NamespaceNotAllowed' },
    { name: 'x', ns: 'team' },
  )
  await environment.client.apply(namespace('team', { tier: 'gold' }))
  const object = await environment.condition('Ready', ready, { name: 'x', ns: 'team' })
  expect(conditionOf(object, 'Accepted')).toMatchObject({ status: 'True', reason: 'Accepted' })
})

test('a deleted tenant closes its connections; a new tenant of the same name inherits nothing', async () => {
  const { object, token } = await environment.readyTenant('gone')
  const ann = await environment.chat(token, 'demo/gone')
  await environment.client.delete({ apiVersion, kind: 'ChatTenant', namespace: 'demo', name: 'gone' })
  expect(await ann.closed()).toMatchObject({ code: 3503 })
  await environment.untilChatStatus(token, 404, { tenant: 'demo/gone' })

  // This API server has no garbage collector, so the old Secret still exists.
  const again = await environment.readyTenant('gone')
  expect(again.object['status'].tenantID).not.toBe(object['status'].tenantID)
  expect(await environment.chatStatus(token, { tenant: 'demo/gone' })).toBe(401)
  expect(await environment.chatStatus(again.token, { tenant: 'demo/gone' })).toBe(admitted)
  const secret = await environment.secret('gone-credentials')
  expect(secret?.metadata['ownerReferences']).toMatchObject([{ uid: again.object.metadata['uid'] }])
})

test('an invalid tenant of the same name does not keep a deleted tenant alive', async () => {
  const { token } = await environment.readyTenant('replaced')
  const ann = await environment.chat(token, 'demo/replaced')
  await environment.client.delete({ apiVersion, kind: 'ChatTenant', namespace: 'demo', name: 'replaced' })
  await environment.client.apply(demoTenant('replaced', { ...generated, planRef: { name: 'nowhere' } }))
  expect(await ann.closed()).toMatchObject({ code: 3503 })
  const object = await environment.condition('Accepted', { status: 'False' }, { name: 'replaced' })
  expect(conditionOf(object, 'Programmed')).toMatchObject({ reason: 'NeverAccepted' })
  await environment.untilChatStatus(token, 404, { tenant: 'demo/replaced' })
})

describe('the Secret', () => {
  test('follows the Service Binding specification, has an owner, and blocks no deletion', async () => {
    const credentials = { template: { labels: { team: 'red' }, annotations: { note: 'x' } } }
    const { object } = await environment.readyTenant('bound', { ...generated, credentials })
    const secret = await environment.secret('bound-credentials')
    expect(secret).toMatchObject({
      type: 'servicebinding.io/parley',
      metadata: {
        labels: { team: 'red', 'parley.chat/secret': 'generated' },
        annotations: { note: 'x' },
        ownerReferences: [
          { kind: 'ChatTenant', uid: object.metadata['uid'], controller: true, blockOwnerDeletion: false },
        ],
      },
    })
    const names = ['type', 'provider', 'uri', 'host', 'port']
    const texts = await Promise.all(names.map((name) => environment.secretText('bound-credentials', name)))
    expect(texts).toEqual([
      'parley',
      'parley.chat',
      'wss://chat.example.com/demo/bound',
      'chat.example.com',
      '443',
    ])
    expect(object['status'].credentials.activeKeyIDs).toEqual([
      await environment.secretText('bound-credentials', 'backend.id'),
    ])
    expect(object.metadata['finalizers']).toBeUndefined()
    expect(secret?.metadata['finalizers']).toBeUndefined()
  })

  test('that was changed by hand is repaired, and its key stays', async () => {
    const { token } = await environment.readyTenant('drifted')
    const ref = { apiVersion: 'v1', kind: 'Secret', namespace: 'demo', name: 'drifted-credentials' }
    const uri = Buffer.from('wss://evil.example.com').toString('base64')
    await environment.client.patch(ref, {
      metadata: { labels: { 'parley.chat/secret': null }, ownerReferences: null },
      data: { uri },
    })
    await until('the repair', async () => {
      const secret = await environment.secret('drifted-credentials')
      const isLabelled = Object.hasOwn(secret?.metadata['labels'] ?? {}, 'parley.chat/secret')
      return isLabelled && secret?.metadata['ownerReferences'] && secret['data'].uri !== uri
    })
    expect(await environment.chatStatus(token, { tenant: 'demo/drifted' })).toBe(admitted)
    await until('an Event', async () =>
      (await environment.events('drifted')).some(({ reason }) => reason === 'SecretRepaired'),
    )
  })

  test('whose key was changed or deleted gets a new key', async () => {
    const { token } = await environment.readyTenant('forged')
    const ref = { apiVersion: 'v1', kind: 'Secret', namespace: 'demo', name: 'forged-credentials' }
    const forged = 'a key that somebody else chose for this tenant'
    await environment.client.patch(ref, { data: { backend: Buffer.from(forged).toString('base64') } })
    await environment.untilChatStatus(token, 401, { tenant: 'demo/forged' })
    expect(await environment.chatStatus(await signToken(forged), { tenant: 'demo/forged' })).toBe(401)
    await until('another key', async () => (await environment.secretText(ref.name, 'backend')) !== forged)
    const second = await environment.token({ secret: ref.name })
    await environment.untilChatStatus(second, admitted, { tenant: 'demo/forged' })

    await environment.client.delete(ref)
    await environment.untilChatStatus(second, 401, { tenant: 'demo/forged' })
    await until('a Secret again', async () => (await environment.secret(ref.name)) !== undefined)
    await environment.untilChatStatus(await environment.token({ secret: ref.name }), admitted, {
      tenant: 'demo/forged',
    })
  })

  test('of another owner is not changed, and its name can be used after its deletion', async () => {
    const ref = { apiVersion: 'v1', kind: 'Secret', namespace: 'demo', name: 'taken-credentials' }
    const { apiVersion: version, kind, ...metadata } = ref
    await environment.client.apply({
      apiVersion: version,
      kind,
      metadata,
      stringData: { mine: 'mine' },
    })
    await environment.client.apply(demoTenant('taken'))
    const taken = { name: 'taken' }
    await environment.condition('CredentialsReady', { status: 'False', reason: 'SecretNotOurs' }, taken)
    const object = await environment.condition('Ready', { status: 'False', reason: 'SecretNotOurs' }, taken)
    expect(conditionOf(object, 'Stalled')).toMatchObject({ status: 'True' })
    expect(Object.keys((await environment.secret('taken-credentials'))?.['data'])).toEqual(['mine'])
    await environment.client.delete(ref)
    await environment.condition('Ready', ready, taken)
  })

  test('of another owner does not matter when no key is generated', async () => {
    const metadata = { name: 'guests-credentials', namespace: 'demo' }
    await environment.client.apply({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata,
      stringData: { mine: 'mine' },
    })
    await environment.client.apply(demoTenant('guests', { channels: openRules }))
    const object = await environment.condition('Ready', ready, { name: 'guests' })
    expect(object['status'].binding).toBeUndefined()
    expect(Object.keys((await environment.secret('guests-credentials'))?.['data'])).toEqual(['mine'])
  })

  test.each(['ES256', 'EdDSA'])(
    'holds the private key of an %s pair, which gateways never see',
    async (alg) => {
      const name = `pair-${alg.toLowerCase()}`
      const auth = [{ name: 'backend', type: 'PublicKey', generate: { algorithm: alg } }]
      await environment.readyTenant(name, { ...generated, auth }, alg)
      const token = await environment.token({ secret: `${name}-credentials`, alg })
      expect(await environment.chatStatus(token, { tenant: `demo/${name}` })).toBe(admitted)
      const policy = JSON.stringify(await environment.policy(name))
      expect(policy).toContain('BEGIN PUBLIC KEY')
      expect(policy).not.toContain('PRIVATE')
    },
  )
})

describe('a ChatCredential', () => {
  const ref = { apiVersion, kind: 'ChatCredential', namespace: 'demo', name: 'bot' }

  test('provides an API key that gateways know by its hash and refuse after its deletion', async () => {
    await environment.readyTenant('keyed')
    const scopes = [{ match: { type: 'Prefix', value: 'room:' }, operations: ['Publish'] }]
    const spec = { tenantRef: { name: 'keyed' }, role: 'Publisher', scopes, ttl: '24h' }
    await environment.client.apply(chatCredential(spec, { ns: 'demo' }))
    const object = await environment.condition(
      'Ready',
      { status: 'True', reason: 'CredentialsReady' },
      { kind: 'ChatCredential', name: 'bot' },
    )
    const key = await environment.secretText('bot-credential', 'api-key')
    expect(key).toMatch(/^parley_[\w-]{43}$/)
    const sha256 = createHash('sha256').update(key).digest('hex')
    const policy = await environment.policy('keyed')
    expect(policy?.apiKeys).toEqual([
      {
        id: object['status'].keyID,
        credential: 'bot',
        sha256,
        role: 'Publisher',
        scopes,
        expiresAtMs: Date.parse(object['status'].expiresAt),
      },
    ])
    expect(JSON.stringify(policy)).not.toContain(key)
    await environment.client.delete(ref)
    await until('no key', async () => {
      const after = await environment.policy('keyed')
      return after && after.apiKeys === undefined
    })
  })

  test('imports a key only from a Secret with the import label', async () => {
    await environment.readyTenant('importer')
    const secret = (labels: Record<string, string>): KubeObject => ({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'their-key', namespace: 'demo', labels },
      stringData: { key: 'a key that a vault made, long enough' },
    })
    await environment.client.apply(secret({}))
    const spec = { tenantRef: { name: 'importer' }, importSecretRef: { name: 'their-key', key: 'key' } }
    await environment.client.apply(chatCredential(spec, { name: 'import', ns: 'demo' }))
    const of = { kind: 'ChatCredential', name: 'import' }
    await environment.condition('Ready', { status: 'False', reason: 'ImportNotLabelled' }, of)
    await environment.client.apply(secret({ 'parley.chat/secret': 'import' }))
    const object = await environment.condition('Ready', { status: 'True' }, of)
    expect(object['status']).toMatchObject({ keyID: expect.any(String), binding: { name: 'their-key' } })
  })

  test('of a tenant that does not exist reports TenantNotFound', async () => {
    await environment.client.apply(
      chatCredential({ tenantRef: { name: 'nobody' } }, { name: 'lost', ns: 'demo' }),
    )
    const of = { kind: 'ChatCredential', name: 'lost' }
    await environment.condition('Ready', { status: 'False', reason: 'TenantNotFound' }, of)
    await environment.client.apply(demoTenant('nobody'))
    const object = await environment.condition('Ready', { status: 'True' }, of)
    expect(object['status'].binding).toEqual({ name: 'lost-credential' })
  })
})

test('the manifests of docs/controller.md work as the page says', async () => {
  const page = await readFile(new URL('../../docs/controller.md', import.meta.url), 'utf8')
  const [, text = ''] = /```yaml\n(.*?)```/s.exec(page) ?? []
  for (const document of parseAllDocuments(text))
    await environment.client.apply(document.toJS() as KubeObject)
  await environment.condition('Ready', ready, { name: 'keys' })
  const bot = await environment.condition(
    'Ready',
    { status: 'True' },
    { kind: 'ChatCredential', name: 'keys-bot' },
  )
  expect(bot['status'].binding).toEqual({ name: 'keys-bot-credential' })
  const token = await environment.token({ secret: 'keys-credentials' })
  expect(await environment.chatStatus(token, { tenant: 'demo/keys' })).toBe(admitted)
})

test('the manifests of examples/node-backend mount the files that it reads', async () => {
  const read = (file: string) =>
    readFile(new URL(`../../examples/node-backend/${file}`, import.meta.url), 'utf8')
  await environment.client.apply(chatPlan({}, 'standard'))
  const objects = parseAllDocuments(await read('kubernetes.yaml')).map(
    (document) => document.toJS() as KubeObject,
  )
  for (const object of objects)
    await environment.client.apply({ ...object, metadata: { ...object.metadata, namespace: 'demo' } })
  await environment.condition('Ready', ready, { name: 'shop' })
  await environment.condition('Ready', { status: 'True' }, { kind: 'ChatCredential', name: 'shop-backend' })

  const pod = objects.find(({ kind }) => kind === 'Deployment')?.['spec'].template.spec
  const files = [...(await read('server.js')).matchAll(/readBinding\('([\w-]+)\/([\w-]+)'\)/g)]
  expect(new Set(files.map(([, , key]) => key))).toEqual(new Set(['backend', 'uri', 'api-key']))
  for (const [, folder = '', key = ''] of files) {
    const mount = { name: folder, mountPath: `/bindings/${folder}`, readOnly: true }
    expect(pod.containers[0].volumeMounts).toContainEqual(mount)
    const { secret } = pod.volumes.find(({ name }: { name: string }) => name === folder)
    expect(await environment.secretText(secret.secretName, key)).not.toBe('')
  }
})

test('a hostname belongs to the older tenant', async () => {
  const hostnames = ['chat.acme.example']
  await environment.readyTenant('elder', { ...generated, hostnames })
  // Creation timestamps have whole seconds.
  const [elder] = [await environment.tenant('elder')]
  await until(
    'another second',
    () => Date.now() > Date.parse(String(elder?.metadata['creationTimestamp'])) + 1_000,
  )
  await environment.readyTenant('younger', { ...generated, hostnames })
  await environment.condition('Conflict', { status: 'True', reason: 'HostnameTaken' }, { name: 'younger' })
  const conflictEvents = async () =>
    (await environment.events('younger')).filter(({ reason }) => reason === 'HostnameTaken')
  await until('an Event', async () => (await conflictEvents()).length > 0)
  expect(await conflictEvents()).toMatchObject([
    { type: 'Warning', note: expect.stringContaining('demo/elder') },
  ])
  expect(conditionOf(await environment.tenant('elder'), 'Conflict')).toBeUndefined()
  await environment.client.delete({ apiVersion, kind: 'ChatTenant', namespace: 'demo', name: 'elder' })
  await until(
    'no conflict',
    async () => conditionOf(await environment.tenant('younger'), 'Conflict') === undefined,
  )
})

test('usage appears in status, and QuotaPressure near the limit', async () => {
  const { token } = await environment.readyTenant('busy', {
    ...generated,
    quota: { connections: { max: 1 } },
  })
  const ann = await environment.chat(token, 'demo/busy')
  const near = { status: 'True', reason: 'NearQuota' }
  const object = await environment.condition('QuotaPressure', near, { name: 'busy', deadlineMs: 80_000 })
  expect(object['status'].usage).toMatchObject({ connections: 1, peakConnections: 1 })
  // The last change follows too soon after the previous write to be written immediately, and no change
  // follows it. It must still be written.
  ann.socket.close()
  const below = { status: 'False', reason: 'BelowQuota' }
  const after = await environment.condition('QuotaPressure', below, { name: 'busy', deadlineMs: 250_000 })
  expect(after['status'].usage).toMatchObject({ connections: 0, peakConnections: 1 })
}, 330_000)

test('the Events of one tenant are limited, and dropped ones are counted', async () => {
  // A different failure each time. An object may have a burst of 25 Events (src/kube/events.ts).
  for (let index = 0; index < 30; index += 1) {
    const planRef = { name: `nowhere-${index}` }
    await environment.client.apply(demoTenant('talkative', { ...generated, planRef }))
    await environment.condition(
      'Accepted',
      { status: 'False', reason: 'PlanNotFound' },
      { name: 'talkative' },
    )
  }
  await until('a dropped Event', async () => {
    const [, dropped = '0'] =
      /^parley_controller_events_dropped_total (\d+)$/m.exec(await controller.metrics.registry.metrics()) ??
      []
    return Number(dropped) > 0
  })
  expect((await environment.events('talkative')).length).toBeLessThanOrEqual(25)
})

test('reconciling unchanged tenants writes nothing', async () => {
  const { metrics } = controller
  await environment.readyTenant('unchanged')
  const count = async (name: string): Promise<number> => {
    const text = await metrics.registry.metrics()
    const lines = text.split('\n').filter((line) => line.startsWith(name))
    return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
  }
  const reconciles = 'controller_runtime_reconcile_total{controller="chattenant"'
  const writes = 'rest_client_requests_total{code="200",method="PATCH"'
  const settled = async (): Promise<number> => {
    let last = -1
    await until(
      'writes to stop',
      async () => {
        const before = last
        last = await count(writes)
        return last === before
      },
      { everyMs: 2_500 },
    )
    return last
  }
  const written = await settled()
  const before = await count(reconciles)
  await environment.client.apply(namespace('demo', { looked: 'at' }))
  await until('all tenants to be reconciled', async () => (await count(reconciles)) >= before + 5)
  expect(await count(writes)).toBe(written)
})
