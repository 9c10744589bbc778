// Slow peers: clients that do not read, and identity providers that do not answer.
import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { gatewayFor } from '../support/centrifuge-sdk.js'
import { rawAs, rawAt } from '../support/frames.js'
import { heldJwks } from '../support/held-jwks.js'
import { tenantPolicy } from '../support/policies.js'
import { deadlineMs, within } from '../support/waiting.js'

describe('a client that does not read', () => {
  test('is closed with 3008; the others receive everything', async () => {
    const gateway = await gatewayFor({}, { limits: { outbox: { bytesMax: 65_536, ageMaxMs: 60_000 } } })
    const { sessions } = gateway.gateway.context
    const [slow, quick, publisher] = await Promise.all(['ann', 'bob', 'carol'].map((u) => rawAs(gateway, u)))
    if (!slow || !quick || !publisher) throw new Error('three were opened')
    for (const client of [slow, quick]) await client.ask(2, { subscribe: { channel: 'general' } })
    slow.socket.pause()
    const data = 'x'.repeat(32_000)
    let published = 0
    // As much as the kernel takes for a client that does not read, and a little more.
    while (sessions.size === 3 && published < 2000) {
      published += 1
      await publisher.ask(1 + published, { publish: { channel: 'general', data } })
    }
    expect(sessions.size).toBe(2)
    slow.socket.resume()
    expect(await slow.closed()).toEqual({ code: 3008, reason: 'slow' })
    const lines = await quick.lines.take(published)
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ push: { pub: { offset: published } } })
  })

  test('is closed when a frame has waited too long, although no new one comes', async () => {
    const gateway = await gatewayFor(
      {},
      {
        limits: {
          outbox: { bytesMax: 268_435_456, ageMaxMs: 0 },
          heartbeat: { pingIntervalMs: 1000, pongTimeoutMs: 800 },
        },
      },
    )
    const [slow, publisher] = await Promise.all([rawAs(gateway, 'ann'), rawAs(gateway, 'bob')])
    await slow.ask(2, { subscribe: { channel: 'general' } })
    slow.socket.pause()
    const data = 'x'.repeat(32_000)
    const { sessions } = gateway.gateway.context
    for (let id = 2; sessions.size === 2 && id < 2000; id += 1)
      await publisher.ask(id, { publish: { channel: 'general', data } })
    await expect.poll(() => sessions.size, { timeout: deadlineMs }).toBe(1)
  })
})

describe('while an identity provider is slow', () => {
  async function annVerifying() {
    const jwks = await heldJwks()
    const policy = { issuers: [jwks.issuer] }
    const gateway = await gatewayFor(policy, { allowPrivateJwks: true })
    const token = await jwks.sign('ann')
    return { gateway, jwks, policy, token }
  }

  test('the commands after connect wait, and are answered in order', async () => {
    const { gateway, jwks, token } = await annVerifying()
    const ann = await rawAt(gateway)
    ann.send({ id: 1, connect: { token } }, { id: 2, subscribe: { channel: 'general' } })
    ;(await jwks.requested())()
    expect(await ann.object()).toMatchObject({ id: 1, connect: { pong: true } })
    expect(await ann.object()).toMatchObject({ id: 2, subscribe: {} })
  })

  test('a suspension meanwhile applies: 3507', async () => {
    const { gateway, jwks, policy, token } = await annVerifying()
    const ann = await rawAt(gateway)
    ann.send({ id: 1, connect: { token } })
    const answer = await jwks.requested()
    gateway.catalog.put(tenantPolicy({ ...policy, suspended: true }))
    answer()
    expect(await ann.closed()).toMatchObject({ code: 3507 })
    expect(ann.lines.waiting).toEqual([])
    expect(gateway.gateway.tenant('demo/acme')?.quota.connections).toBe(0)
  })

  test('the removal of the tenant meanwhile applies: 3503', async () => {
    const { gateway, jwks, token } = await annVerifying()
    const ann = await rawAt(gateway)
    ann.send({ id: 1, connect: { token } })
    const answer = await jwks.requested()
    gateway.catalog.remove('demo/acme')
    answer()
    expect((await ann.closed()).code).toBe(3503)
  })

  test('a client that leaves meanwhile is not counted in the quota', async () => {
    const { gateway, jwks, token } = await annVerifying()
    const ann = await rawAt(gateway)
    ann.send({ id: 1, connect: { token } })
    const answer = await jwks.requested()
    ann.socket.terminate()
    await expect.poll(() => gateway.gateway.context.sessions.size, { timeout: deadlineMs }).toBe(0)
    answer()
    const bob = await rawAt(gateway)
    await bob.ask(1, { connect: { token: await jwks.sign('bob') } })
    expect(gateway.gateway.tenant('demo/acme')?.quota.connections).toBe(1)
  })

  test.each([
    ['suspended', 403],
    ['draining', 503],
  ] as const)(
    'the chat endpoint checks the tenant again before the upgrade: %s is %i',
    async (change, status) => {
      const { gateway, jwks, policy, token } = await annVerifying()
      const socket = new WebSocket(`${gateway.ws}/demo/acme/ws?token=${token}`)
      const refused = once(socket, 'unexpected-response')
      const answer = await jwks.requested()
      if (change === 'suspended') gateway.catalog.put(tenantPolicy({ ...policy, suspended: true }))
      else gateway.gateway.startDraining()
      answer()
      const [, response] = (await within('the refusal', refused)) as [unknown, { statusCode: number }]
      expect(response.statusCode).toBe(status)
      expect(gateway.gateway.context.sessions.size).toBe(0)
    },
  )
})
