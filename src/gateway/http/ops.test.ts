import { createServer } from 'node:http'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { limitsWith, openRule, policyOf, turn } from '../../session/session.testing.js'
import { OpsServer } from './ops-server.js'
import { OpsFixture, startOps } from './ops.testing.js'

describe('probes', () => {
  test('/healthz is 200', async () => {
    const response = await (await startOps()).get('/healthz')
    expect([response.status, await response.json()]).toEqual([200, { status: 'alive' }])
  })

  test('/readyz is 200 when the gateway is ready', async () => {
    const response = await (await startOps()).get('/readyz')
    expect([response.status, await response.json()]).toEqual([200, { ready: true, reasons: [] }])
  })

  test('/readyz is 503 while draining, and gives the reason', async () => {
    const ops = await startOps()
    ops.gateway.startDraining()
    const response = await ops.get('/readyz')
    expect([response.status, await response.json()]).toEqual([
      503,
      { ready: false, reasons: ['draining: the gateway is shutting down'] },
    ])
  })

  test('/healthz stays 200 while draining', async () => {
    const ops = await startOps()
    ops.gateway.startDraining()
    expect((await ops.get('/healthz')).status).toBe(200)
  })

  test('support only GET', async () => {
    const response = await (await startOps()).get('/healthz', { method: 'POST' })
    expect([response.status, await response.json()]).toMatchObject([405, { code: 'METHOD_NOT_ALLOWED' }])
  })

  test('another path is 404, and the message lists the pages', async () => {
    const response = await (await startOps()).get('/unknown?token=secret')
    const body = JSON.stringify(await response.json())
    expect(response.status).toBe(404)
    expect(body).toContain('/metrics/tenants')
    expect(body).not.toContain('secret')
  })
})

describe('/stats', () => {
  test('has connections, the number of rooms and quota by tenant', async () => {
    const ops = await startOps([policyOf({ limits: limitsWith('connections', { max: 50 }) })])
    for (const client of ['a', 'b']) await ops.enter(client)
    expect(await ops.json('/stats')).toEqual({
      connections: 2,
      subscriptions: 2,
      channels: 1,
      draining: false,
      uptime_seconds: expect.any(Number) as number,
      unauthenticated_connections: 0,
      unauthenticated_connections_of_one_address: 0,
      tenants: {
        'demo/acme': {
          connections: 2,
          connections_max: 50,
          guests: 2,
          guests_max: 1000,
          channels: 1,
          channels_max: 1000,
          stored_bytes: 0,
          stored_bytes_max: 1_000_000_000,
          users: 2,
          publications: 0,
          deliveries: 0,
          bytes_out: expect.any(Number) as number,
          refusals: {},
          limit_excesses: {},
          rooms_total: 1,
        },
      },
    })
  })

  test('counts publications, deliveries and refusals', async () => {
    const ops = await startOps()
    const session = await ops.enter('a')
    await ops.enter('b')
    session.onMessage(Buffer.from('{"type":"room_message","room":"general","content":1}'), false)
    session.onMessage(Buffer.from('{"type":"room_message","room":"secret","content":1}'), false)
    await vi.waitFor(async () =>
      expect(await ops.json('/stats')).toMatchObject({
        tenants: { 'demo/acme': { publications: 1, deliveries: 2, refusals: { PERMISSION_DENIED: 1 } } },
      }),
    )
  })

  test('names no user, client or channel unless the option asks for names', async () => {
    const [ops, named] = [await startOps(), await startOps(undefined, { statsNames: true })]
    for (const one of [ops, named]) await one.enter('someclient')
    expect(await ops.text('/stats')).not.toMatch(/general|someclient/)
    expect(await named.json('/stats')).toMatchObject({
      tenants: { 'demo/acme': { rooms: { general: 1 }, rooms_total: 1 } },
    })
    expect(await named.text('/stats')).not.toContain('someclient')
  })

  test('lists at most 100 rooms, those with the most subscribers first', async () => {
    const ops = await startOps(undefined, { statsNames: true })
    const channels = ops.gateway.tenant('demo/acme')?.channels
    for (let n = 0; n < 150; n += 1) channels?.addSubscriber(`room:${n}`)
    channels?.addSubscriber('room:149')
    const { tenants } = (await ops.json('/stats')) as {
      tenants: Record<string, { rooms: Record<string, number>; rooms_total: number }>
    }
    const { rooms = {}, rooms_total = 0 } = tenants['demo/acme'] ?? {}
    expect([Object.keys(rooms).length, Object.entries(rooms)[0], rooms_total]).toEqual([
      100,
      ['room:149', 2],
      150,
    ])
  })
})

describe('/metrics', () => {
  test('has the names that the dashboards use', async () => {
    const ops = await startOps()
    await ops.enter('a')
    const text = await ops.text('/metrics')
    const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name)
    expect(names).toEqual(
      expect.arrayContaining([
        'parley_connects_total',
        'parley_closes_total',
        'parley_handshake_refusals_total',
        'parley_commands_total',
        'parley_publications_total',
        'parley_deliveries_total',
        'parley_sent_bytes_total',
        'parley_recoveries_total',
        'parley_recovery_delay_seconds',
        'parley_rebalanced_sessions_total',
        'parley_slow_closes_total',
        'parley_bugs_total',
        'parley_publish_duration_seconds',
        'parley_connect_duration_seconds',
        'parley_gateway_connections',
        'parley_gateway_connections_limit',
        'parley_gateway_subscriptions',
        'parley_gateway_channels',
        'parley_gateway_ready',
        'parley_gateway_draining',
        'parley_catalog_tenants',
        'parley_catalog_problems',
      ]),
    )
    expect(text).toMatch(/^parley_gateway_connections 1$/m)
  })

  test('has only names with the prefix parley_', async () => {
    const text = await (await startOps()).text('/metrics')
    for (const [, name = ''] of text.matchAll(/^# TYPE (\S+)/gm)) expect(name).toMatch(/^parley_[a-z_]+$/)
  })

  test.each(['/metrics', '/metrics/tenants'])(
    '%s labels neither users nor channels nor clients',
    async (path) => {
      const channels = [openRule('lobby', { name: 'entrance' }), openRule('general', { name: 'rooms' })]
      const ops = await startOps([policyOf({ channels })])
      const session = await ops.enter('someclient')
      session.onMessage(Buffer.from('{"type":"room_message","room":"general","content":1}'), false)
      await turn()
      const text = await ops.text(path)
      expect(text).not.toMatch(/someclient|general|lobby/)
      const labels = new Set([...text.matchAll(/[{,](\w+)="/g)].map(([, label]) => label))
      const bounded = new Set(['endpoint', 'result', 'code', 'command', 'le', 'tenant', 'rule'])
      expect([...labels].filter((label) => !bounded.has(label ?? ''))).toEqual([])
    },
  )

  test('Parley’s close codes have a series each, and other codes of clients share one', async () => {
    const ops = await startOps()
    for (const code of [1001, 3008, 3999, 4321, 4999]) (await ops.enter(`c${code}`)).onClosed(code)
    const closes = (await ops.text('/metrics')).match(/(?<=^parley_closes_total.*code=).*/gm)
    expect(closes).toEqual(['"1001"} 1', '"3008"} 1', '"other"} 3'])
  })

  test('names no tenant; only /metrics/tenants does', async () => {
    const ops = await startOps()
    await ops.enter('a')
    expect(await ops.text('/metrics')).not.toContain('demo/acme')
    expect(await ops.text('/metrics/tenants')).toContain('parley_tenant_connections{tenant="demo/acme"} 1')
  })
})

describe('/metrics/tenants', () => {
  test('has the names that the dashboards use', async () => {
    const text = await (await startOps()).text('/metrics/tenants')
    expect([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name)).toEqual(
      expect.arrayContaining([
        'parley_tenant_connections',
        'parley_tenant_connections_limit',
        'parley_tenant_channels',
        'parley_tenant_subscriptions',
        'parley_tenant_publish_rate_limit',
        'parley_tenant_publications_total',
        'parley_tenant_deliveries_total',
        'parley_tenant_refusals_total',
        'parley_tenant_limit_excesses_total',
        'parley_tenant_bytes_out_total',
        'parley_tenant_reads_total',
        'parley_tenant_joins_total',
        'parley_tenant_api_requests_total',
        'parley_tenant_delivery_delay_seconds',
      ]),
    )
  })

  test('publications are counted by the rule of their channel', async () => {
    const ops = await startOps([
      policyOf({ channels: [openRule('lobby'), openRule('general', { name: 'rooms' })] }),
    ])
    const session = await ops.enter('a')
    session.onMessage(Buffer.from('{"type":"room_message","room":"general","content":1}'), false)
    await turn()
    expect(await ops.text('/metrics/tenants')).toContain(
      'parley_tenant_rule_publications_total{tenant="demo/acme",rule="rooms"} 1',
    )
  })

  test('series are removed with their tenant', async () => {
    const policies = [policyOf({ tenantId: 't2', name: 'globex' }), policyOf()]
    const ops = await startOps(policies)
    const session = await ops.enter('a')
    session.onMessage(Buffer.from('{"type":"room_message","room":"general","content":1}'), false)
    await turn()
    const delivered = 'parley_tenant_delivery_delay_seconds_count{tenant="demo/acme"} 1'
    expect(await ops.text('/metrics/tenants')).toContain(delivered)
    ops.listener?.changed({ kind: 'remove', policy: policies[1]! })
    const text = await ops.text('/metrics/tenants')
    expect(text).not.toContain('demo/acme')
    expect(text).toContain('demo/globex')
  })

  test('refusals are counted by code', async () => {
    const ops = await startOps()
    const session = await ops.enter('a')
    session.onMessage(Buffer.from('{"type":"join_room","room":"secret"}'), false)
    await turn()
    expect(await ops.text('/metrics/tenants')).toContain(
      'parley_tenant_refusals_total{tenant="demo/acme",code="PERMISSION_DENIED"} 1',
    )
  })
})

test('opening a port that is in use rejects with an error', async () => {
  const other = createServer()
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  onTestFinished(
    () =>
      new Promise((resolve) => {
        other.close(() => resolve())
      }),
  )
  const address = other.address()
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0
  await expect(new OpsServer(new OpsFixture([]).gateway).listen(port, '127.0.0.1')).rejects.toMatchObject({
    code: 'EADDRINUSE',
  })
})
