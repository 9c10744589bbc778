// No command, API method, metric or log line of one tenant touches another: two tenants with the same names
// on the same gateways, with the memory broker and with two gateways on one Redis. A command or method that
// has no action here fails the first test.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { methodNames } from '../../src/gateway/api/methods.js'
import { WireCommand } from '../../src/protocol/centrifuge/schema.js'
import { adminKey, callApi } from '../support/api-client.js'
import { endLedgers } from '../support/redis-ledger.js'
import { endRedisProcesses, until } from '../support/redis-processes.js'
import { endRevocations } from '../support/redis-revocations.js'
import { WireClient, wires, type Wire } from '../support/wire-client.js'
import { apiActions, centrifugeActions, chatActions, type Parties } from './tenant-actions.js'
import { mark, names, onMemory, onRedis, type Side, type TwoTenants } from './two-tenants.js'

afterAll(async () => {
  await endLedgers()
  await endRevocations()
  await endRedisProcesses()
})

type Action = (parties: Parties) => Promise<void>

/** All actions by a title. */
const actions: readonly (readonly [title: string, action: Action])[] = [
  ...wires.flatMap((wire) =>
    Object.entries(wire === 'chat' ? chatActions : centrifugeActions).map(
      ([name, act]) =>
        [
          `${wire}: ${name}`,
          async (parties: Parties) => act(await parties.a.connect(wire, { user: names.actor }), parties),
        ] as const,
    ),
  ),
  ...Object.entries(apiActions).map(([name, act]) => [`API: ${name}`, act] as const),
]

/** The series of a tenant on all gateways. */
async function seriesOf({ gateways }: TwoTenants, { tenant }: Side): Promise<string[]> {
  const texts = await Promise.all(gateways.map(({ gateway }) => gateway.tenantMetrics.registry.metrics()))
  return texts.flatMap((text, at) =>
    text
      .split('\n')
      .filter((line) => line.includes(`tenant="${tenant}"`))
      // A gateway learns only now and then how many bytes are stored, unless it stored them itself. The
      // tenant publishes at the first one.
      .filter((line) => at === 0 || !line.startsWith('parley_tenant_stored_bytes{')),
  )
}

/** The series of a tenant when its own last actions are counted: twice the same. */
async function seriesAtRest(tenants: TwoTenants, side: Side): Promise<string[]> {
  await side.settle()
  let series = await seriesOf(tenants, side)
  await until(
    'the series to be at rest',
    async () => {
      const before = series
      series = await seriesOf(tenants, side)
      return JSON.stringify(series) === JSON.stringify(before)
    },
    { everyMs: 300 },
  )
  return series
}

describe.each([
  ['memory', onMemory],
  ['two gateways on one Redis', onRedis],
])('on %s', (_where, start) => {
  let tenants: TwoTenants
  let parties: Parties

  beforeAll(async () => {
    tenants = await start()
    const { a, b } = tenants
    const { epoch, offset } = await b.api('history', { channel: names.room })
    const { presence } = await b.api('presence', { channel: names.room })
    const [session = ''] = Object.keys(presence)
    parties = { a, b, facts: { position: { epoch, offset }, session } }
  })
  afterAll(() => tenants.stop())

  test('every command of each endpoint and every method of the API has an action', async () => {
    const client = await parties.a.connect('chat', { user: names.actor })
    const { message } = await client.ask({ type: 'zq-unknown' })
    const types = String(message).split('the types are ')[1]?.split(', ')
    expect(Object.keys(chatActions).toSorted()).toEqual(types?.toSorted())
    const commands = WireCommand.fields.map(({ name }) => name).filter((name) => name !== 'id')
    expect(Object.keys(centrifugeActions).toSorted()).toEqual(commands.toSorted())
    expect(Object.keys(apiActions).toSorted()).toEqual([...methodNames].toSorted())
    await parties.a.leaveAll()
  })

  test.each(actions)('%s has no effect in the other tenant and is not seen there', async (_title, act) => {
    const { a, b } = parties
    await b.settle()
    const [state, heard] = [await b.state(), b.heard]
    await act(parties)
    await a.leaveAll()
    await b.settle()
    expect(b.heard).toEqual(heard)
    expect(await b.state()).toEqual(state)
  })

  test('equal idempotency keys of equal users are different messages', async () => {
    const { a, b } = parties
    for (const side of [a, b]) {
      const data = `${side.data} with a key`
      const publish = { channel: names.room, data, idempotency_key: names.key }
      expect(await side.api('publish', publish)).toMatchObject({ durability: 'accepted' })
      await side.hear(data)
      const client = await side.connect('chat', { user: names.actor })
      const content = `${side.data} of the actor with a key`
      const message = { type: 'room_message', room: names.room, content, key: names.key }
      expect(await client.ask(message)).toMatchObject({ event: 'ack' })
      await side.hear(content)
    }
    await Promise.all([a.leaveAll(), b.leaveAll()])
  })

  test('no answer and no message of a tenant contains anything of the other', async () => {
    const { a, b, facts } = parties
    expect(a.everything).toContain(a.data)
    expect(b.everything).toContain(b.data)
    for (const foreign of [b.data, b.tenant, facts.session]) expect(a.everything).not.toContain(foreign)
    for (const foreign of [a.data, a.tenant]) expect(b.everything).not.toContain(foreign)
    const { presence } = await a.api('presence', { channel: names.room })
    for (const session of Object.keys(presence)) expect(b.everything).not.toContain(session)
  })

  describe('while a tenant does everything', () => {
    let before: readonly string[] = []
    let firstLine = 0

    beforeAll(async () => {
      before = await seriesAtRest(tenants, parties.b)
      firstLine = tenants.lines.length
      for (const [, act] of actions) {
        await act(parties)
        await parties.a.leaveAll()
      }
      await strangeNames(parties)
    }, 240_000)

    test('the metrics of the other tenant do not change', async () => {
      expect(before.length).toBeGreaterThan(10)
      expect(await seriesOf(tenants, parties.b)).toEqual(before)
    })

    test('no metric has a label that a client chose, and only tenants that exist have series', async () => {
      for (const { gateway } of tenants.gateways) {
        const texts = [
          await gateway.metrics.registry.metrics(),
          await gateway.tenantMetrics.registry.metrics(),
        ]
        for (const text of texts) {
          expect(text).not.toContain(mark)
          const labelled = new Set([...text.matchAll(/tenant="([^"]*)"/g)].map(([, tenant]) => tenant))
          for (const tenant of labelled) expect([parties.a.tenant, parties.b.tenant]).toContain(tenant)
        }
      }
    })

    test('no log line of these actions names the other tenant', () => {
      // The same line is written at most every ten seconds.
      expect(tenants.lines.join('')).toContain(parties.a.tenant)
      for (const line of tenants.lines.slice(firstLine)) {
        expect(line).not.toContain(parties.b.tenant)
        expect(line).not.toContain('id-of-demo-globex')
      }
    })

    test('no log line contains a message, a token or a key', () => {
      const { a, b } = parties
      const secrets = [adminKey, a.data, b.data, ...a.tokens, ...b.tokens].flatMap((secret) =>
        secret.startsWith('eyJ') ? secret.split('.').slice(1) : [secret],
      )
      const text = tenants.lines.join('')
      for (const secret of secrets) expect(text).not.toContain(secret)
      expect(text).not.toMatch(/guest\.[\w-]{11}\./)
    })
  })
})

/** Uses names of a client's choice wherever one could become a label or reach a log. */
async function strangeNames({ a, facts }: Parties): Promise<void> {
  const [gateway] = a.gateways
  if (!gateway) return
  for (const path of [
    'zq-path',
    'zq-ns/zq-tenant/ws',
    'zq-ns/zq-tenant/api/publish',
    'demo/acme/api/zq-method',
  ])
    await fetch(`${gateway.http}/${path}`)
  await callApi(gateway, 'zq-method', {}, { tenant: a.tenant })
  await callApi(gateway, 'publish', {}, { tenant: 'zq-ns/zq-tenant' })
  await a.api('disconnect', { user: 'zq-nobody', disconnect: { code: 4567, reason: 'zq-reason' } })
  await a.api('batch', { commands: [{ 'zq-method': {} }] })
  for (const wire of wires) await strangeCommands(await a.connect(wire, { user: 'zq-user' }), wire)
  const guest = await a.connect('chat')
  guest.send({ type: 'chat', content: a.data })
  const refused = { tenant: a.tenant, token: await a.token('guest:zq-x') }
  await expect(WireClient.connect(gateway, 'chat', refused)).rejects.toThrow('401')
  await a.api('revoke', { user: 'zq-user', issued_before: 1 })
  await a.api('history', { channel: names.room, since: { ...facts.position, epoch: 'zq-epoch' } })
  await a.leaveAll()
}

async function strangeCommands(client: WireClient, wire: Wire): Promise<void> {
  if (wire === 'chat') await client.ask({ type: 'zq-type' })
  else await client.ask({ rpc: { method: 'zq-method' } })
  const channel = 'zq-denied {channel}'
  await client.ask(wire === 'chat' ? { type: 'join_room', room: channel } : { subscribe: { channel } })
}
